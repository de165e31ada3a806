"""ControlNets: what each kind of network is told, and its residuals for every row of a forward.

Strength, and what guess mode does, are factors per row, so rows of different strengths share a forward.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inference.engine.families.sample import Batch, Model, Role, Row

# The modes of the Flux "union" ControlNets, which hold several kinds in one network (their model cards agree).
UNION_MODES = {
    "canny": 0,
    "tile": 1,
    "depth": 2,
    "blur": 3,
    "pose": 4,
    "openpose": 4,
    "gray": 5,
    "low_quality": 6,
}


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet of a sample: `hint` is 1 x 3 x height x width in 0..1. Samples with equal keys may share."""

    key: str
    kind: str
    network: Any
    hint: torch.Tensor
    scale: float
    guess: bool = False

    def with_latents(self, model: Model, vae: Any, generator: torch.Generator) -> Control:
        """For networks that see the hint through the autoencoder."""
        encoded = vae.encode((self.hint * 2 - 1).to(model.device, vae.dtype)).latent_dist.sample(generator).float()
        if self.network.config.get("force_zeros_for_pooled_projection", False):
            latents = encoded * vae.config.scaling_factor  # This line of SD3 networks was trained without the shift.
        else:
            latents = model.family.scale_latents(vae, encoded)
        return dataclasses.replace(self, hint=latents)


def fits(network: Any, denoiser: Any) -> bool:
    """Whether a ControlNet was made for this denoiser: their class names and text widths agree."""
    made_for = {
        "ControlNetModel": "UNet2DConditionModel",
        "FluxControlNetModel": "FluxTransformer2DModel",
        "SD3ControlNetModel": "SD3Transformer2DModel",
    }
    if made_for.get(type(network).__name__) != type(denoiser).__name__:
        return False
    width = "cross_attention_dim" if "cross_attention_dim" in denoiser.config else "joint_attention_dim"
    own = network.config.get(width)
    return own is None or bool(own == denoiser.config[width])


def unet_residuals(model: Model, batch: Batch, added: dict[str, Any] | None) -> dict[str, Any]:
    total: list[torch.Tensor] = []
    for controls in _by_place(batch):
        network = controls[0].network
        down, middle = network(
            batch.latents[:, : network.config.in_channels],
            batch.timesteps,
            encoder_hidden_states=batch.told["text"],
            controlnet_cond=_hints(model, controls),
            added_cond_kwargs=added,
            return_dict=False,
        )
        total = _sum(total, _weighted([*down, middle], controls, batch.rows))
    if not total:
        return {}
    return {"down_block_additional_residuals": tuple(total[:-1]), "mid_block_additional_residual": total[-1]}


def sd3_residuals(model: Model, batch: Batch) -> dict[str, Any]:
    total: list[torch.Tensor] = []
    for controls in _by_place(batch):
        network, pooled = controls[0].network, batch.told["pooled"]
        zeros = network.config.force_zeros_for_pooled_projection
        blocks = network(
            hidden_states=batch.latents,
            timestep=batch.timesteps,
            encoder_hidden_states=batch.told["text"] if network.config.joint_attention_dim is not None else None,
            pooled_projections=torch.zeros_like(pooled) if zeros else pooled,
            controlnet_cond=_hints(model, controls),
            return_dict=False,
        )[0]
        total = _sum(total, _weighted(list(blocks), controls, batch.rows))
    return {"block_controlnet_hidden_states": total} if total else {}


def flux_residuals(model: Model, batch: Batch, told: dict[str, Any], pack: Any) -> dict[str, Any]:
    """`told` are the transformer's own arguments, which the networks take too."""
    double: list[torch.Tensor] = []
    single: list[torch.Tensor] = []
    repeat = False
    for controls in _by_place(batch):
        network = controls[0].network
        sees_pixels = network.input_hint_block is not None
        repeat = repeat or sees_pixels
        hints = _hints(model, controls)
        arguments = told | {} if network.config.guidance_embeds else told | {"guidance": None}
        mode = None
        if network.config.num_mode is not None:
            modes = [[UNION_MODES.get(control.kind, 0)] for control in controls]
            mode = torch.tensor(modes, device=model.device)
        blocks, singles = network(
            controlnet_cond=hints * 2 - 1 if sees_pixels else pack(hints), controlnet_mode=mode, **arguments
        )
        double = _sum(double, _weighted(list(blocks or ()), controls, batch.rows))
        single = _sum(single, _weighted(list(singles or ()), controls, batch.rows))
    if not double and not single:
        return {}
    return {
        "controlnet_block_samples": double or None,
        "controlnet_single_block_samples": single or None,
        "controlnet_blocks_repeat": repeat,
    }


def _by_place(batch: Batch) -> list[list[Control]]:
    """The rows' controls, network by network. All rows have the same networks in the same order."""
    places = range(len(batch.rows[0].sample.controls))
    return [[row.sample.controls[place] for row in batch.rows] for place in places]


def _hints(model: Model, controls: Sequence[Control]) -> torch.Tensor:
    return torch.cat([control.hint for control in controls]).to(model.dtype)


def _weighted(outputs: list[torch.Tensor], controls: Sequence[Control], rows: Sequence[Row]) -> list[torch.Tensor]:
    if not outputs:
        return []
    factors = torch.stack([_factors(c, row, len(outputs)) for c, row in zip(controls, rows, strict=True)])
    factors = factors.to(outputs[0])
    return [out * factors[:, i].view(-1, *[1] * (out.ndim - 1)) for i, out in enumerate(outputs)]


def _factors(control: Control, row: Row, depths: int) -> torch.Tensor:
    """In guess mode only the prompted row is steered, and shallow layers less than deep ones.

    The ramp from 0.1 to 1 is that of diffusers' ControlNetModel (`guess_mode`).
    """
    if not control.guess:
        return torch.full((depths,), control.scale)
    if row.condition.role is Role.NEGATIVE:
        return torch.zeros(depths)
    pooled = bool(control.network.config.get("global_pool_conditions", False))
    ramp = torch.ones(depths) if pooled else torch.logspace(-1, 0, depths)
    return ramp * control.scale


def _sum(total: list[torch.Tensor], more: list[torch.Tensor]) -> list[torch.Tensor]:
    """Networks of different depths are added as far as the shorter reaches, as diffusers does."""
    return [a + b for a, b in zip(total, more, strict=False)] if total else more
