"""The contract of a family of models, and what all families do the same way.

A family turns text into conditions, starts a sample (one picture under way), predicts one step for many samples in
one forward of the network, and decodes latents. It keeps no state: that lives in the Model (weights, shared by all)
and in the Sample (scheduler, generator, latents: one picture's own). Every sample is computed as the plain diffusers
pipeline computes it; only the network's forward is shared.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from inference.engine import schedulers
from inference.engine.errors import RenderFailed
from inference.engine.families import lora, speed
from inference.engine.families.dresses import perturbed, worn
from inference.engine.families.sample import (
    Batch,
    Condition,
    Model,
    Role,
    Row,
    Sample,
    Start,
    Tensors,
    Text,
    View,
)

# diffusers' default for perturbed-attention guidance.
PERTURBED_SCALE = 3.0
GUIDED = (Role.NEGATIVE, Role.POSITIVE)

__all__ = ["Batch", "Condition", "Family", "Model", "Role", "Row", "Sample", "Start", "Tensors", "Text", "View"]


class Family(abc.ABC):
    name: ClassVar[str]
    denoiser: ClassVar[str]
    schedulers: ClassVar[tuple[str, ...]]
    """The scheduler classes that fit; the model's own always does."""
    pipeline: ClassVar[Any]
    components: ClassVar[tuple[str, ...]]
    wears_dresses: ClassVar[bool] = False
    """Whether token merging, IP-Adapters and perturbed attention fit the network."""
    skips_foreign_adapters: ClassVar[bool] = False
    """Whether a LoRA or VAE of another family is left out with a note (as the API documents) instead of refused."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Components that a model of this family may lack."""

    # --- To be told by each family ------------------------------------------------------------------------------------

    @abc.abstractmethod
    def encode(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        """Each text's conditions: the positive alone, or the negative and the positive where guidance needs both."""

    @abc.abstractmethod
    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """One call of the network over all rows."""

    @abc.abstractmethod
    def latent_channels(self, model: Model) -> int: ...

    def assemble(self, parts: dict[str, Any], options: dict[str, bool]) -> Any:
        """The plain diffusers pipeline of these components, whose helpers the family uses."""
        self.check(parts)
        return self.pipeline(**{name: parts.get(name) for name in self.components})

    def check(self, parts: dict[str, Any]) -> None:
        """Refuse a model whose components are not this family's."""
        missing = {name for name in self.components if parts.get(name) is None} - set(self.optional)
        odd = sorted(missing or set(parts) - set(self.components))
        if odd:
            message = f"The model is not of the family {self.name}: look at its {', '.join(odd)}."
            raise RenderFailed(code="model_unreadable", message=message)

    def size_unit(self, model: Model) -> int:
        """Sides are multiples of this many pixels."""
        return model.scale

    def ignored(self, model: Model) -> tuple[str, ...]:
        """Fields of the RenderSpec that this model does not look at."""
        return ()

    def clip_layers(self, model: Model) -> int:
        """How many layers the CLIP text encoder has; 0 where skipping them has no meaning."""
        return 0

    def tokens_read(self, model: Model, prompt: str) -> int:
        """How many tokens of this prompt are read, if that is not all of them; else 0."""
        return 0

    def set_timesteps(self, model: Model, scheduler: Any, steps: int, size: tuple[int, int]) -> None:
        scheduler.set_timesteps(steps)

    def first_step(self, steps: int, strength: float) -> int:
        """How many steps an init picture skips, as diffusers rounds it; at least one step is left."""
        return min(max(steps - min(int(steps * strength), steps), 0), steps - 1)

    # --- Starting -----------------------------------------------------------------------------------------------------

    def start(self, model: Model, start: Start) -> Sample:
        """Draw the noise and place the sample on its schedule. The order of random draws is the pipelines' own."""
        scheduler, size = start.scheduler, (start.width_px, start.height_px)
        self.set_timesteps(model, scheduler, start.steps, size)
        timesteps = scheduler.timesteps
        generator = torch.Generator("cpu").manual_seed(start.seed)
        controls = self.start_controls(model, start, generator)
        from_picture = start.image is not None or start.latents is not None
        if from_picture:
            begin = self.first_step(start.steps, start.strength) * scheduler.order
            timesteps = timesteps[begin:]
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(begin)
        sample = Sample(
            latents=torch.empty(0),
            noise=torch.empty(0),
            scheduler=scheduler,
            timesteps=timesteps,
            step_arguments=schedulers.step_arguments(scheduler, generator),
            guidance=start.guidance,
            conditions=start.conditions,
            size=size,
            vae=start.vae or model.vae,
            controls=controls,
        )
        if start.latents is not None:
            sample.image_latents = start.latents
        elif start.image is not None and self._keeps_picture(model, start):
            sample.image_latents = self.encode_image(model, sample.vae, start.image, generator)
        shape = (1, self.latent_channels(model), start.height_px // model.scale, start.width_px // model.scale)
        sample.noise = randn_tensor(shape, generator=generator, device=model.device, dtype=torch.float32)
        sample.views = start.views or (View(0, 0, *shape[2:]),)
        sample.latents = self._first_latents(sample, start)
        if start.mask is not None and start.image is not None:
            self._start_mask(model, sample, start, generator)
        return sample

    def start_controls(self, model: Model, start: Start, generator: torch.Generator) -> tuple[Any, ...]:
        """The ControlNets' hints as their networks see them."""
        return start.controls

    def _keeps_picture(self, model: Model, start: Start) -> bool:
        """An inpainting network sees the picture through extra channels and needs its latents only to start from."""
        return start.mask is None or not self.sees_mask(model) or start.strength < 1.0

    def sees_mask(self, model: Model) -> bool:
        """Whether the network was made for inpainting: more input channels than latents have."""
        return False

    def _first_latents(self, sample: Sample, start: Start) -> torch.Tensor:
        pure_noise = sample.image_latents is None or (start.mask is not None and start.strength == 1.0)
        if pure_noise:
            return sample.noise * self.noise_scale(sample.scheduler)
        return self.add_noise(sample, sample.timesteps[:1])

    def noise_scale(self, scheduler: Any) -> Any:
        return scheduler.init_noise_sigma

    def add_noise(self, sample: Sample, timesteps: torch.Tensor) -> torch.Tensor:
        noised: torch.Tensor = sample.scheduler.add_noise(sample.image_latents, sample.noise, timesteps)
        return noised

    def _start_mask(self, model: Model, sample: Sample, start: Start, generator: torch.Generator) -> None:
        assert start.image is not None
        pixels = self.pixels(model, start.image)
        white = mask_processor(model).preprocess(start.mask, height=start.height_px, width=start.width_px)
        small = (start.height_px // model.scale, start.width_px // model.scale)
        sample.mask = torch.nn.functional.interpolate(white, size=small).to(model.device)
        masked = self._to_latents(model, sample.vae, pixels * (white < 0.5), generator)
        if self.sees_mask(model):
            sample.extra_channels = torch.cat([sample.mask, masked], dim=1)
            sample.mask = None

    # --- One step -----------------------------------------------------------------------------------------------------

    def bucket(self, model: Model, sample: Sample) -> Hashable:
        """Samples of equal buckets may share a forward of this model."""
        told = sample.conditions[0].tensors
        lengths = tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(told.items()))
        controls = tuple(control.key for control in sample.controls)
        reference = None if sample.reference is None else tuple(sample.reference.shape)
        window = (sample.views[0].height, sample.views[0].width, sample.extra_channels is not None)
        dress = tuple(dress.key for dress in sample.dress)
        return (window, lengths, controls, reference, dress, sample.alone)

    def predict(self, model: Model, samples: Sequence[Sample], rows_max: int) -> list[torch.Tensor]:
        """The guided prediction of each sample's next step. All samples are of one bucket.

        It is one forward, unless a sample alone has more than `rows_max` rows (a panorama of many windows).
        """
        rows = [Row(s, condition, view) for s in samples for view in s.views for condition in s.conditions]
        inputs = {id(sample): self._input(sample) for sample in samples}
        parts = [self._run(model, rows[i : i + rows_max], inputs) for i in range(0, len(rows), rows_max)]
        predictions = torch.cat(parts).float()
        if all(len(sample.views) == 1 and _roles(sample) == GUIDED for sample in samples):
            return _all_guided(samples, predictions)
        out, first = [], 0
        for sample in samples:
            out.append(_merged(sample, predictions[first : first + sample.rows]))
            first += sample.rows
        return out

    def _run(self, model: Model, rows: list[Row], inputs: dict[int, torch.Tensor]) -> torch.Tensor:
        batch = Batch(
            rows=rows,
            latents=torch.cat([row.view.of(inputs[id(row.sample)]) for row in rows]).to(model.dtype),
            timesteps=torch.stack([row.sample.timestep.float() for row in rows]).to(model.device),
            told={name: torch.cat([r.condition.tensors[name] for r in rows]) for name in rows[0].condition.tensors},
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(lora.applied(model.denoiser, self.denoiser, [row.sample.loras for row in rows]))
            stack.enter_context(worn(model.denoiser, rows[0].sample.dress))
            stack.enter_context(perturbed(model.denoiser, rows))
            stack.enter_context(speed.uncompiled_for(model.denoiser, rows))
            return self.forward(model, batch)

    def _input(self, sample: Sample) -> torch.Tensor:
        scaled = self.scaled_latents(sample)
        return scaled if sample.extra_channels is None else torch.cat([scaled, sample.extra_channels], dim=1)

    def scaled_latents(self, sample: Sample) -> torch.Tensor:
        scaled: torch.Tensor = sample.scheduler.scale_model_input(sample.latents, sample.timestep)
        return scaled

    def advance(self, samples: Sequence[Sample], predictions: Sequence[torch.Tensor]) -> None:
        """The scheduler's step, and outside the mask the original picture at the next noise level.

        Several samples must be of equal pace and at the same step: the first one's scheduler computes for all.
        """
        first = samples[0]
        latents = torch.cat([sample.latents for sample in samples]) if len(samples) > 1 else first.latents
        prediction = torch.cat(list(predictions)) if len(samples) > 1 else predictions[0]
        step = first.scheduler.step(prediction, first.timestep, latents, **first.step_arguments)
        ends = getattr(step, "pred_original_sample", None)
        estimates = ends.split(1) if ends is not None and len(samples) > 1 else [ends] * len(samples)
        for sample, advanced, estimate in zip(samples, step.prev_sample.split(1), estimates, strict=True):
            sample.latents, sample.estimate = advanced, estimate
            sample.step += 1
            if sample is not first and hasattr(first.scheduler, "_step_index"):
                sample.scheduler._step_index = first.scheduler._step_index
            self._keep_unmasked(sample)

    def _keep_unmasked(self, sample: Sample) -> None:
        if sample.mask is None or sample.image_latents is None:
            return
        kept = sample.image_latents
        if not sample.done:
            kept = self.add_noise(sample, sample.timestep.reshape(1))
        sample.latents = (1 - sample.mask) * kept + sample.mask * sample.latents

    # --- Pictures and latents -----------------------------------------------------------------------------------------

    def pixels(self, model: Model, image: Image.Image) -> torch.Tensor:
        """-1..1, on the CPU."""
        processor = VaeImageProcessor(vae_scale_factor=model.scale)
        tensor: torch.Tensor = processor.preprocess(image.convert("RGB"), height=image.height, width=image.width)
        return tensor

    def encode_image(self, model: Model, vae: Any, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
        return self._to_latents(model, vae, self.pixels(model, image), generator)

    def _to_latents(self, model: Model, vae: Any, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        encoded = vae.encode(pixels.to(model.device, vae.dtype))
        if hasattr(encoded, "latent_dist"):
            latents = encoded.latent_dist.sample(generator).float()
        else:
            latents = encoded.latents.float()  # The distilled small autoencoder has no distribution.
        return self.scale_latents(vae, latents)

    def scale_latents(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """From the autoencoder's numbers to those that the denoiser was trained on."""
        mean, std = _statistics(vae, latents)
        if mean is not None:
            return (latents - mean) * vae.config.scaling_factor / std
        return (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor

    def unscale_latents(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        mean, std = _statistics(vae, latents)
        if mean is not None:
            return latents * std / vae.config.scaling_factor + mean
        return latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)

    def decode_pixels(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        pixels: torch.Tensor = vae.decode(self.unscale_latents(vae, latents).to(vae.dtype), return_dict=False)[0]
        return pixels.float()

    def image_of(self, model: Model, pixels: torch.Tensor) -> Image.Image:
        if not bool(torch.isfinite(pixels).all()):
            message = "The picture's decoder produced values that are no numbers."
            raise RenderFailed(code="not_a_number", message=message)
        image: Image.Image = VaeImageProcessor(vae_scale_factor=model.scale).postprocess(pixels.cpu())[0]
        return image


def _merged(sample: Sample, predictions: torch.Tensor) -> torch.Tensor:
    """The windows' guided predictions laid over each other; where they overlap, their mean.

    Averaging windows at every step is MultiDiffusion (arXiv 2302.08113, equation 5).
    """
    count = len(sample.conditions)
    guided = [_guided(sample, predictions[i * count : (i + 1) * count]) for i in range(len(sample.views))]
    if len(guided) == 1:
        return guided[0]
    total, covered = torch.zeros_like(sample.latents), torch.zeros_like(sample.latents)
    for view, prediction in zip(sample.views, guided, strict=True):
        view.of(total).add_(prediction)
        view.of(covered).add_(1)
    return total / covered


def _roles(sample: Sample) -> tuple[Role, ...]:
    return tuple(condition.role for condition in sample.conditions)


def _all_guided(samples: Sequence[Sample], predictions: torch.Tensor) -> list[torch.Tensor]:
    """Classifier-free guidance of pictures that are seen whole, each with its own scale, at once."""
    without, told = predictions.unflatten(0, (len(samples), 2)).unbind(1)
    scales = predictions.new_tensor([sample.guidance for sample in samples]).reshape(-1, 1, 1, 1)
    return list((without + scales * (told - without)).split(1))


def _guided(sample: Sample, predictions: torch.Tensor) -> torch.Tensor:
    """Classifier-free guidance, and away from the perturbed row where there is one (arXiv 2403.17377)."""
    by_role = {c.role: predictions[i : i + 1] for i, c in enumerate(sample.conditions)}
    told = by_role[Role.POSITIVE]
    guided = told
    if Role.NEGATIVE in by_role:
        without = by_role[Role.NEGATIVE]
        guided = without + sample.guidance * (told - without)
    if Role.PERTURBED in by_role:
        guided = guided + PERTURBED_SCALE * (told - by_role[Role.PERTURBED])
    return guided


def read_alike(
    texts: Sequence[Text],
    way: Callable[[Text], Hashable],
    read: Callable[[Sequence[Text]], list[tuple[Condition, ...]]],
) -> list[tuple[Condition, ...]]:
    """What `read` makes of the texts, those together whose `way` of being read is equal, in their own order."""
    places: dict[Hashable, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(way(text), []).append(place)
    found: dict[int, tuple[Condition, ...]] = {}
    for alike in places.values():
        found |= zip(alike, read([texts[place] for place in alike]), strict=True)
    return [found[place] for place in range(len(texts))]


def mask_processor(model: Model) -> VaeImageProcessor:
    return VaeImageProcessor(
        vae_scale_factor=model.scale, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )


def _statistics(vae: Any, latents: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Some SDXL fine-tunes bring the mean and deviation of their latents, per channel."""
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is None or std is None:
        return None, None
    shape = (1, -1, 1, 1)
    return latents.new_tensor(mean).view(shape), latents.new_tensor(std).view(shape)
