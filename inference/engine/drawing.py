"""From a RenderSpec to samples, and from a finished sample to the picture: one Drawing per job.

It decides what is really used, and keeps the list of what was changed (`used`) and of what had no effect (`notes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from inference.engine import compose, prompts, schedulers
from inference.engine.errors import RenderFailed
from inference.engine.families.base import Model, Sample, Start
from inference.engine.parts import PartKind, PartRef
from inference.engine.pixels import cover, opaque
from inference.engine.spec import Operation, RenderSpec

DRAWS_FROM_PICTURE = (Operation.IMAGE_TO_IMAGE, Operation.INPAINT, Operation.OUTPAINT)
DRAWS = (Operation.TEXT_TO_IMAGE, *DRAWS_FROM_PICTURE)
# A repainted border must not keep the stretched pixels that fill the empty canvas.
OUTPAINT_STRENGTH = 1.0

# How "not used" is written for a field.
NOTHING: dict[str, Any] = {"negative_prompt": "", "clip_skip": 0, "guidance_scale": 0.0, "strength": 1.0}


class Report:
    """What was used instead of what was asked, and what had no effect."""

    def __init__(self) -> None:
        self.used: dict[str, Any] = {}
        self.notes: list[str] = []

    def change(self, field: str, value: Any, note: str = "") -> None:
        self.used[field] = value
        self.note(note)

    def note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)


def needs(spec: RenderSpec) -> tuple[PartRef, ...]:
    """The parts that must be in memory for a drawing job, the base model first."""
    refs = [PartRef(PartKind.MODEL, spec.model.source, spec.model)]
    refs += [PartRef(PartKind.CONTROLNET, control.source) for control in spec.controls]
    if spec.vae:
        refs.append(PartRef(PartKind.VAE, spec.vae.source))
    return tuple(dict.fromkeys(refs))


class Drawing:
    """A job's common part, made once: text, scheduler, pictures. Then one Sample per image."""

    def __init__(
        self, spec: RenderSpec, inputs: Mapping[str, Image.Image], parts: Mapping[PartRef, Any], report: Report
    ) -> None:
        self.spec, self.inputs, self.parts, self.report = spec, inputs, parts, report
        self.model: Model = parts[PartRef(PartKind.MODEL, spec.model.source, spec.model)]
        self.family = self.model.family
        self.width_px, self.height_px = self._size()
        self.image, self.mask = self._pictures()
        self.vae = self._vae()
        self.schedule = self._schedule()
        self.conditions = self._conditions()
        self._tell_ignored()

    def sample(self, index: int) -> Sample:
        spec = self.spec
        seed = spec.seed + index
        start = Start(
            width_px=self.width_px,
            height_px=self.height_px,
            seed=seed,
            steps=max(spec.num_inference_steps, 1),
            guidance=spec.guidance_scale,
            strength=self._strength(),
            scheduler=self.schedule.build(seed),
            conditions=self.conditions,
            image=self.image,
            mask=self.mask,
            vae=self.vae,
        )
        sample = self.family.start(self.model, start)
        if spec.deterministic:
            sample.dress = ("alone", spec.token, index)
        return sample

    def predict(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """One step's predictions for samples of this drawing's bucket, whichever jobs they belong to."""
        return self.family.predict(self.model, samples)

    def picture(self, sample: Sample, *, tiled: bool = False) -> Image.Image:
        """`tiled` decodes piece by piece: less memory, and seams that are blended."""
        if tiled and hasattr(sample.vae, "enable_tiling"):
            sample.vae.enable_tiling()
        try:
            image = self.family.decode(self.model, sample)
        finally:
            if tiled and hasattr(sample.vae, "disable_tiling"):
                sample.vae.disable_tiling()
        if self.mask is not None and self.image is not None:
            image = compose.paste_unmasked(self.image, image, self.mask)
        return image

    def bucket(self, sample: Sample) -> tuple[Any, ...]:
        return (id(self.model), self.family.bucket(self.model, sample))

    # --- Decisions ----------------------------------------------------------------------------------------------------

    def _size(self) -> tuple[int, int]:
        """Rounded down to what the latents can hold."""
        unit = self.family.size_unit(self.model)
        width_px, height_px = (max(side // unit, 1) * unit for side in (self.spec.width_px, self.spec.height_px))
        if (width_px, height_px) != (self.spec.width_px, self.spec.height_px):
            self.report.used |= {"width_px": width_px, "height_px": height_px}
            self.report.note(f"The size was rounded down to a multiple of {unit} px.")
        return width_px, height_px

    def _pictures(self) -> tuple[Image.Image | None, Image.Image | None]:
        spec = self.spec
        if spec.operation not in DRAWS_FROM_PICTURE:
            return None, None
        if not spec.init_images:
            raise RenderFailed(code="invalid_input", message=f"init_image: {spec.operation} needs a picture.")
        first = opaque(self.input(spec.init_images[0]))
        if spec.operation == Operation.OUTPAINT:
            overlap_px = spec.outpaint.overlap_px if spec.outpaint else 0
            return compose.outpaint_canvas(first, self.width_px, self.height_px, overlap_px)
        image = cover(first, self.width_px, self.height_px)
        if spec.operation == Operation.IMAGE_TO_IMAGE:
            return image, None
        if not spec.mask_image:
            raise RenderFailed(code="invalid_input", message="mask_image: inpainting needs a mask.")
        mask = compose.prepare_mask(self.input(spec.mask_image), first.size, self.width_px, self.height_px)
        return image, mask

    def input(self, key: str) -> Image.Image:
        if key not in self.inputs:
            raise RenderFailed(code="invalid_input", message=f"The picture {key} did not come with the job.")
        return self.inputs[key]

    def _strength(self) -> float:
        if self.spec.operation == Operation.OUTPAINT:
            return OUTPAINT_STRENGTH
        return min(max(self.spec.strength, 0.0), 1.0)

    def _vae(self) -> Any:
        if self.spec.vae is None:
            return None
        vae = self.parts[PartRef(PartKind.VAE, self.spec.vae.source)]
        if vae.config.latent_channels != self.model.vae.config.latent_channels:
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
            allowed=self.family.schedulers,
        )
        for note in plan.notes:
            self.report.note(note)
        if plan.class_name != spec.scheduler:
            self.report.change("scheduler", plan.class_name)
        if plan.uses_karras_sigmas != spec.use_karras_sigmas:
            self.report.change("use_karras_sigmas", plan.uses_karras_sigmas)
        if plan.algorithm_type != spec.algorithm_type:
            self.report.change("algorithm_type", plan.algorithm_type)
        return plan

    def _conditions(self) -> Any:
        spec = self.spec
        prompt = spec.prompt
        if spec.enhance_prompt:
            prompt = prompts.enhance(prompt, spec.enhance_style)
            self.report.note(prompts.style_note(spec.enhance_style) or "")
        if prompt != spec.prompt:
            self.report.change("prompt", prompt)
        return self.family.encode(
            self.model,
            prompt,
            spec.negative_prompt,
            guidance=spec.guidance_scale,
            clip_skip=self._clip_skip(),
            size=(self.width_px, self.height_px),
        )

    def _clip_skip(self) -> int:
        most = max(self.family.clip_layers(self.model) - 1, 0)
        clip_skip = min(max(self.spec.clip_skip, 0), most)
        if clip_skip != self.spec.clip_skip:
            note = f"clip_skip: at most {most} layers of this model's text encoder can be skipped."
            self.report.change("clip_skip", clip_skip, note if most else "clip_skip has no effect on this model.")
        return clip_skip

    def _tell_ignored(self) -> None:
        """What this model does not look at is reported as unused, and in words where it was asked for."""
        for field in self.family.ignored(self.model):
            if getattr(self.spec, field) != NOTHING[field]:
                self.report.change(field, NOTHING[field], f"{field} has no effect on this model.")
