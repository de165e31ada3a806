"""From a RenderSpec to samples, and from a finished sample to the picture: one Drawing per job.

It decides what is really used; what it changes or cannot honour goes into the job's Report.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from inference.engine import adapting, compose, prompts, schedulers
from inference.engine.errors import RenderFailed
from inference.engine.families.base import Condition, Model, Role, Sample, Start, Text, View
from inference.engine.loading import CONSTRUCTION
from inference.engine.parts import PartKind, PartRef, part_of
from inference.engine.pixels import cover, opaque
from inference.engine.report import NOTHING, Report
from inference.engine.settings import EngineSettings
from inference.engine.spec import Operation, RenderSpec

DRAWS_FROM_PICTURE = (Operation.IMAGE_TO_IMAGE, Operation.INPAINT, Operation.OUTPAINT)
DRAWS = (Operation.TEXT_TO_IMAGE, *DRAWS_FROM_PICTURE)
# A repainted border must not keep the stretched pixels that fill the empty canvas.
OUTPAINT_STRENGTH = 1.0
# highres_fix redraws the enlarged picture: enough to add detail, too little to change what is where.
HIGHRES_STRENGTH = 0.5
# Beyond twice or below a quarter of the area that a network was made for, pictures come out odd.
AREA_SHARE_MIN, AREA_SHARE_MAX = 0.25, 2.0
# Panorama windows move by this share of their side, as in diffusers' panorama pipeline (8 of 64 latents).
PANORAMA_STRIDES = 8


def needs(spec: RenderSpec) -> tuple[PartRef, ...]:
    """The parts that must be in memory for a drawing job, the base model first."""
    return tuple(dict.fromkeys([part_of(spec.model), *adapting.needs(spec)]))


class Drawing:
    """A job's common part, made once: text, scheduler, pictures, adapters. Then one Sample per image.

    Its words must be read (see reading.py) before there can be samples.
    """

    def __init__(
        self,
        spec: RenderSpec,
        pictures: Mapping[str, Image.Image],
        parts: Mapping[PartRef, Any],
        report: Report,
        settings: EngineSettings,
    ) -> None:
        self.spec, self.pictures, self.parts, self.report, self.settings = spec, pictures, parts, report, settings
        self.ref = part_of(spec.model)
        self.model: Model = parts[self.ref]
        self.family = self.model.family
        self.size = self._size()
        self.image, self.mask = self._image_and_mask()
        self.vae = self._vae()
        self.schedule = self._schedule()
        self.loras = adapting.loras(spec, parts, self.model, report)
        self.dress = adapting.dresses(spec, self.model, report)
        self.controls = adapting.controls(
            spec, parts, self.model, pictures, self.size, self.mask, settings.model_dir, CONSTRUCTION
        )
        self.conditions: tuple[Condition, ...] = ()
        self.views = self._views()
        self.first_size = self._first_size()
        self._tell_odd_size()
        if spec.deterministic:
            report.note("deterministic: every picture was drawn in forwards of its own.")

    # --- Samples ------------------------------------------------------------------------------------------------------

    def sample(self, index: int) -> Sample:
        start = self._start(self.spec.seed + index)
        if self.first_size:
            start.width_px, start.height_px = self.first_size
        sample = self._sample(start, index)
        if self.first_size:
            sample.then = lambda first: self._enlarged(first, index)
            sample.steps_after = self._highres_steps()
        return sample

    def _start(self, seed: int) -> Start:
        width_px, height_px = self.size
        return Start(
            width_px=width_px,
            height_px=height_px,
            seed=seed,
            steps=max(self.spec.num_inference_steps, 1),
            guidance=self.spec.guidance_scale,
            strength=self._strength(),
            scheduler=self.schedule.build(seed),
            conditions=self.conditions,
            image=self.image,
            mask=self.mask,
            vae=self.vae,
            views=self.views,
            controls=self.controls,
        )

    def _sample(self, start: Start, index: int) -> Sample:
        sample = self.family.start(self.model, start)
        sample.loras, sample.dress = self.loras, self.dress
        sample.pace = self.schedule.pace(sample.timesteps)
        if self.spec.deterministic:
            sample.alone = (self.spec.token, index)
        return sample

    def _enlarged(self, first: Sample, index: int) -> Sample:
        """The second half of highres_fix: the small picture, enlarged, is drawn over at the full size."""
        start = self._start(self.spec.seed + index)
        small = self.family.image_of(self.model, self.decode([first])[0])
        start.image = small.resize(self.size, Image.Resampling.LANCZOS)
        start.strength = HIGHRES_STRENGTH
        second = self._sample(start, index)
        second.steps_before = first.steps
        return second

    def _highres_steps(self) -> int:
        steps = max(self.spec.num_inference_steps, 1)
        return (steps - self.family.first_step(steps, HIGHRES_STRENGTH)) * self.schedule.build(0).order

    def predict(self, samples: Sequence[Sample], rows_max: int) -> list[torch.Tensor]:
        """One step's predictions for samples of this drawing's bucket, whichever jobs they belong to."""
        return self.family.predict(self.model, samples, rows_max)

    def decode(self, samples: Sequence[Sample], *, tiled: bool = False) -> list[torch.Tensor]:
        """The pixels of samples of one shape and decoder. `tiled` works piece by piece: less memory, blended seams."""
        vae = samples[0].vae
        if tiled and hasattr(vae, "enable_tiling"):
            vae.enable_tiling()
        try:
            pixels = self.family.decode_pixels(vae, torch.cat([sample.latents for sample in samples]))
        finally:
            if tiled and hasattr(vae, "disable_tiling"):
                vae.disable_tiling()
        return list(pixels.split(1))

    def picture(self, pixels: torch.Tensor) -> Image.Image:
        """The picture of these pixels; outside of a mask, the original's own."""
        image = self.family.image_of(self.model, pixels)
        if self.mask is not None and self.image is not None:
            image = compose.paste_unmasked(self.image, image, self.mask)
        return image

    def bucket(self, sample: Sample) -> tuple[Any, ...]:
        return (self.ref, self.family.bucket(self.model, sample))

    # --- Pictures and sizes -------------------------------------------------------------------------------------------

    def _size(self) -> tuple[int, int]:
        """Rounded down to what the latents can hold."""
        unit = self.family.size_unit(self.model)
        width_px, height_px = (max(side // unit, 1) * unit for side in (self.spec.width_px, self.spec.height_px))
        if (width_px, height_px) != (self.spec.width_px, self.spec.height_px):
            self.report.used |= {"width_px": width_px, "height_px": height_px}
            self.report.note(f"The size was rounded down to a multiple of {unit} px.")
        return width_px, height_px

    def _image_and_mask(self) -> tuple[Image.Image | None, Image.Image | None]:
        spec = self.spec
        if spec.operation not in DRAWS_FROM_PICTURE:
            return None, None
        if not spec.init_images:
            raise RenderFailed(code="invalid_input", message=f"init_image: {spec.operation} needs a picture.")
        first = opaque(self._picture(spec.init_images[0]))
        if spec.operation == Operation.OUTPAINT:
            overlap_px = spec.outpaint.overlap_px if spec.outpaint else 0
            return compose.outpaint_canvas(first, *self.size, overlap_px)
        image = cover(first, *self.size)
        if spec.operation == Operation.IMAGE_TO_IMAGE:
            return image, None
        if not spec.mask_image:
            raise RenderFailed(code="invalid_input", message="mask_image: inpainting needs a mask.")
        return image, compose.prepare_mask(self._picture(spec.mask_image), first.size, *self.size)

    def _picture(self, key: str) -> Image.Image:
        if key not in self.pictures:
            raise RenderFailed(code="invalid_input", message=f"The picture {key} did not come with the job.")
        return self.pictures[key]

    def _strength(self) -> float:
        if self.spec.operation == Operation.OUTPAINT:
            return OUTPAINT_STRENGTH
        return min(max(self.spec.strength, 0.0), 1.0)

    def _native_latents(self) -> int:
        """The side, in latents, that the network was trained on."""
        side: int = self.model.denoiser.config.get("sample_size", None) or 0
        return side

    def _views(self) -> tuple[View, ...]:
        """A panorama is seen through windows of the network's own size, which overlap."""
        if not self.spec.panorama:
            return ()
        window = self._native_latents()
        width, height = (side // self.model.scale for side in self.size)
        if not self.family.wears_dresses or self.controls or self.spec.highres_fix or max(width, height) <= window:
            self.report.drop("panorama", "it is for sizes beyond the model's own, without ControlNet or highres_fix")
            return ()
        return tuple(
            View(top, left, min(window, height), min(window, width))
            for top in _starts(height, window)
            for left in _starts(width, window)
        )

    def _first_size(self) -> tuple[int, int] | None:
        """For highres_fix: the size of the model's own area in the asked shape. None draws at once in full size."""
        if not self.spec.highres_fix:
            return None
        native_px = self._native_latents() * self.model.scale
        width_px, height_px = self.size
        factor = math.sqrt(native_px**2 / (width_px * height_px))
        if self.spec.operation != Operation.TEXT_TO_IMAGE or self.controls or not native_px or factor > 0.9:
            self.report.drop("highres_fix", "it is for text-to-image beyond the model's own size, without ControlNet")
            return None
        unit = self.family.size_unit(self.model)
        return (max(round(width_px * factor / unit), 1) * unit, max(round(height_px * factor / unit), 1) * unit)

    def _tell_odd_size(self) -> None:
        native_px = self._native_latents() * self.model.scale
        if not native_px or self.views or self.first_size:
            return
        width_px, height_px = self.size
        share = width_px * height_px / native_px**2
        if AREA_SHARE_MIN <= share <= AREA_SHARE_MAX:
            return
        far = "above" if share > 1 else "below"
        made_for = f"the {native_px} x {native_px} px that this model was made for: expect odd pictures"
        self.report.note(f"{width_px} x {height_px} px is far {far} {made_for}.")

    # --- Model settings -----------------------------------------------------------------------------------------------

    def _vae(self) -> Any:
        if self.spec.vae is None:
            return None
        vae = self.parts[PartRef(PartKind.VAE, self.spec.vae.source)]
        if vae.config.latent_channels != self.model.vae.config.latent_channels:
            if self.family.skips_foreign_adapters:
                self.report.drop("vae", "it is not made for this family of models")
                return None
            message = f"vae: {self.spec.vae.adapter_id} does not fit this family of models."
            raise RenderFailed(code="invalid_adapter", message=message)
        return vae

    def _schedule(self) -> schedulers.Plan:
        spec = self.spec
        plan = schedulers.plan(
            self.model.pipe.scheduler,
            name=spec.scheduler,
            karras=spec.use_karras_sigmas,
            algorithm=spec.algorithm_type,
            steps=spec.num_inference_steps,
            from_picture=self.image is not None or spec.highres_fix,
            allowed=self.family.schedulers,
        )
        for note in plan.notes:
            self.report.note(note)
        used = {
            "scheduler": plan.class_name,
            "use_karras_sigmas": plan.uses_karras_sigmas,
            "algorithm_type": plan.algorithm_type,
        }
        self.report.used |= {field: value for field, value in used.items() if value != getattr(spec, field)}
        return plan

    def text(self) -> Text:
        """To be asked for while the text encoders are adapted."""
        spec = self.spec
        return Text(
            prompt=self._prompt(),
            negative=spec.negative_prompt,
            guidance=spec.guidance_scale,
            clip_skip=self._clip_skip(),
            size=self.size,
        )

    @property
    def reads_alone(self) -> bool:
        """Words of its own, or encoders that are changed for it."""
        return bool(self.spec.embeddings or self.loras or self.spec.deterministic)

    def text_adapted(self) -> contextlib.AbstractContextManager[None]:
        return adapting.text_adapted(self.spec, self.parts, self.model, self.loras)

    def understand(self, conditions: tuple[Condition, ...]) -> None:
        """Take in the text as the model reads it, and what else steers the picture beside it."""
        spec = self.spec
        if spec.self_attention and self.family.wears_dresses:
            conditions = (*conditions, Condition(conditions[-1].tensors, Role.PERTURBED))
            self.report.note("self_attention was done by perturbed-attention guidance.")
        if spec.ip_adapter and self.family.wears_dresses:
            self.report.note("ip_adapter: steps were shared only with calls of the same adapter and scale.")
            picture = self._picture(spec.ip_adapter.image)
            conditions, worn = adapting.with_picture_prompt(
                conditions, spec.ip_adapter, picture, self.parts, self.model
            )
            self.dress = (*adapting.dresses(spec, self.model, self.report), worn)
        self.conditions = conditions
        self._tell_ignored()

    def _prompt(self) -> str:
        """The prompt with the model's own words, enhanced where asked."""
        spec, prompt = self.spec, self.spec.prompt
        words = spec.model.trigger_words.strip()
        if words and words.lower() not in prompt.lower():
            prompt = f"{words}, {prompt}" if prompt else words
        if spec.enhance_prompt and "enhance_prompt" not in self.family.ignored(self.model):
            prompt = prompts.enhance(prompt, spec.enhance_style)
            self.report.note(prompts.style_note(spec.enhance_style) or "")
        if prompt != spec.prompt:
            self.report.change("prompt", prompt)
        read = self.family.tokens_read(self.model, prompt)
        if read:
            self.report.note(f"Only the first {read} tokens of the prompt were read.")
        return prompt

    def _clip_skip(self) -> int:
        most = max(self.family.clip_layers(self.model) - 1, 0)
        clip_skip = min(max(self.spec.clip_skip, 0), most)
        if clip_skip != self.spec.clip_skip:
            note = f"clip_skip: at most {most} layers of this model's text encoder can be skipped."
            self.report.change("clip_skip", clip_skip, note if most else "clip_skip had no effect on this model.")
        return clip_skip

    def _tell_ignored(self) -> None:
        """What this model does not look at is reported as unused, in words where it was asked for."""
        ignored = self.family.ignored(self.model)
        guided = any(condition.role is Role.NEGATIVE for condition in self.conditions)
        for field in ignored:
            if getattr(self.spec, field) != NOTHING[field]:
                self.report.drop(field, "this model does not use it")
        if self.spec.negative_prompt and "negative_prompt" not in ignored and not guided:
            self.report.note("negative_prompt had no effect: guidance_scale is not above 1.")
        if len(self.spec.init_images) > 1:
            self.report.note("Only the first picture of init_image was used.")
        for field in ("self_attention", "ip_adapter"):
            if getattr(self.spec, field) and not self.family.wears_dresses:
                self.report.drop(field, "this family of models does not use it")


def _starts(length: int, window: int) -> list[int]:
    """Where the windows begin along one side: a stride apart, and one at the very end."""
    if length <= window:
        return [0]
    return [*range(0, length - window, max(window // PANORAMA_STRIDES, 1)), length - window]
