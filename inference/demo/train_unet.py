"""Third stage: the UNet learns to draw what the text encoder has read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from inference.demo import NATIVE_SIDE_PX, parts
from inference.demo.draw import Scene, caption, empty_caption, scene_draw
from inference.demo.stage import BATCHES, DEVICE, SEED, Stage, stage_run
from inference.demo.train_text import EMPTY_CAPTION_SHARE, text_encoder_load, tokens_of
from inference.demo.train_vae import pictures_draw

# Many prompts ask for an ordinary object in the middle, so many pictures show one.
PLAIN_SHARE: Final = 0.45
CAPTIONS_READ: Final = 24_000  # read once and kept: reading costs a quarter of a training step, drawing next to nothing
READ_AT_ONCE: Final = 100
EARLY_LAYER_SHARE: Final = 0.05  # captions read one layer early, so that clip_skip stays harmless
HALF_SIDE_SHARE: Final = 0.1  # of the steps show pictures of half the native side
OBLONG_SHARE: Final = 0.4  # of the steps show pictures of about the native area, wide or high
OBLONGS_PX: Final = ((544, 480), (576, 448), (608, 416), (640, 384), (672, 384), (704, 352))
DRAWN_SCALE: Final = 4  # pictures are drawn at this part of their side: the code needs no more
HIGH_NOISE_START: Final = 0.85  # of the schedule: from here on there is next to no signal
HIGH_NOISE_SHARE: Final = 0.45  # of the pictures of a step
FAINT_SHARE: Final = 0.3  # of the noisiest pictures get less noise than announced: an easier way to the same answer


@dataclass(frozen=True)
class Lessons:
    """Scenes, and what the finished text encoder says of a caption of each."""

    scenes: list[Scene]
    states: Tensor
    rng: random.Random

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Latents of fresh drawings, and the text states that go with them."""
        chosen = self.rng.sample(range(len(self.scenes)), size)
        width_px, height_px = sides_draw(self.rng)
        drawn_px = (width_px // DRAWN_SCALE, height_px // DRAWN_SCALE)
        pictures = pictures_draw([self.scenes[index] for index in chosen], self.rng, drawn_px)
        code = parts.pinned_code(pictures, parts.LATENT_FACTOR // DRAWN_SCALE)
        return code * parts.LATENT_SCALE, self.states[chosen].float()


def sides_draw(rng: random.Random) -> tuple[int, int]:
    """Width and height of the pictures of one step: mostly the native square."""
    kind = rng.random()
    if kind < HALF_SIDE_SHARE:
        return (NATIVE_SIDE_PX // 2, NATIVE_SIDE_PX // 2)
    if kind < HALF_SIDE_SHARE + OBLONG_SHARE:
        long_px, short_px = rng.choice(OBLONGS_PX)
        return (long_px, short_px) if rng.random() < 0.5 else (short_px, long_px)
    return (NATIVE_SIDE_PX, NATIVE_SIDE_PX)


@torch.no_grad()
def lessons_read(folder: Path, rng: random.Random) -> Lessons:
    tokenizer = parts.build_tokenizer()
    encoder = text_encoder_load(folder, tokenizer).to(DEVICE)
    scenes = [scene_draw(rng, PLAIN_SHARE) for _ in range(CAPTIONS_READ)]
    states = torch.empty(CAPTIONS_READ, parts.TOKENS, parts.TEXT_WIDTH, dtype=torch.bfloat16, device=DEVICE)
    for start in range(0, CAPTIONS_READ, READ_AT_ONCE):
        captions = [
            empty_caption(rng) if rng.random() < EMPTY_CAPTION_SHARE else caption(scene, rng)
            for scene in scenes[start : start + READ_AT_ONCE]
        ]
        layers = encoder(tokens_of(tokenizer, captions).to(DEVICE), output_hidden_states=True).hidden_states
        early = torch.rand(len(captions), 1, 1, device=DEVICE) < EARLY_LAYER_SHARE
        read = encoder.text_model.final_layer_norm(torch.where(early, layers[-2], layers[-1]))
        states[start : start + len(captions)] = read.to(states.dtype)
    return Lessons(scenes, states, rng)


def noise_levels(size: int, count: int) -> Tensor:
    """Stratified levels of `count`, nearly half of them where the picture has to come from the caption alone.

    That is learned last: cleaning up a half visible shape is learned in minutes.
    """
    spread = (torch.randperm(size) + torch.rand(size)) / size
    high = HIGH_NOISE_START + spread / HIGH_NOISE_SHARE * (1 - HIGH_NOISE_START)
    low = (spread - HIGH_NOISE_SHARE) / (1 - HIGH_NOISE_SHARE) * HIGH_NOISE_START
    return (torch.where(spread < HIGH_NOISE_SHARE, high, low) * count).long().clamp_(0, count - 1)


def unet_loss(network: Callable[..., Any], kept_shares: Tensor, latents: Tensor, states: Tensor) -> Tensor:
    """The mean squared error of the predicted velocity."""
    size, levels, device = len(latents), len(kept_shares), latents.device
    times = noise_levels(size, levels)
    kept = kept_shares[times].view(-1, 1, 1, 1).to(device)
    faint = (times >= HIGH_NOISE_START * levels) & (torch.rand(size) < FAINT_SHARE)
    noise = torch.randn_like(latents) * torch.where(faint, torch.rand(size), 1.0).view(-1, 1, 1, 1).to(device)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    with torch.autocast(device.type, torch.bfloat16):
        guess = network(noisy.to(memory_format=torch.channels_last), times.to(device), states).sample
    return (guess.float() - velocity).square().mean()


def unet_train(folder: Path, budget_s: float) -> None:
    torch.manual_seed(SEED)
    unet = parts.build_unet().to(DEVICE, memory_format=torch.channels_last)
    average = parts.build_unet().to(DEVICE).requires_grad_(False)
    average.load_state_dict(unet.state_dict())
    stage = Stage("unet", unet, folder, budget_s, average)
    torch.manual_seed(SEED + stage.steps)
    lessons = lessons_read(folder, random.Random(SEED + stage.steps))
    kept = parts.build_scheduler().alphas_cumprod
    stage_run(stage, lambda: unet_loss(unet, kept, *lessons.batch(BATCHES["unet"])))
