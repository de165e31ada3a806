"""Third stage: the UNet learns to draw what the text encoder has read."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from inference.demo import parts
from inference.demo.draw import caption, empty_caption, taught_scene_draw
from inference.demo.stage import BATCHES, DEVICE, SEED, Stage, stage_run
from inference.demo.train_text import EMPTY_CAPTION_SHARE, text_encoder_load, tokens_of
from inference.demo.train_vae import pictures_draw

EARLY_LAYER_SHARE: Final = 0.05  # captions read one layer early, so that clip_skip stays harmless
LOW_NOISE_END: Final = 0.55  # of the schedule: a tenth of the signal is left there
LOW_NOISE_SHARE: Final = 0.2  # of the pictures of a step
FAINT_SHARE: Final = 0.6  # of the noisiest pictures get less noise than announced: an easier way to the same answer
FOLLOWER_LEAD_STEPS: Final = 8


@dataclass
class Captioner:
    """Draws scenes and reads their captions with the finished text encoder."""

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    rng: random.Random

    @torch.no_grad()
    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Latents and the text states that go with them."""
        told = [taught_scene_draw(self.rng) for _ in range(size)]
        captions = [
            empty_caption(self.rng) if self.rng.random() < EMPTY_CAPTION_SHARE else caption(scene, self.rng)
            for scene in told
        ]
        tokens = tokens_of(self.tokenizer, captions).to(DEVICE)
        layers = self.encoder(tokens, output_hidden_states=True).hidden_states
        early = torch.rand(size, 1, 1, device=DEVICE) < EARLY_LAYER_SHARE
        states = self.encoder.text_model.final_layer_norm(torch.where(early, layers[-2], layers[-1]))
        return parts.pinned_code(pictures_draw(told, self.rng)) * parts.LATENT_SCALE, states


def unet_loss(network: Callable[..., Any], kept_shares: Tensor, latents: Tensor, states: Tensor) -> Tensor:
    """The error of the predicted velocity at stratified noise levels, most of them high.

    There the picture has to come from the caption alone, which is learned last: cleaning up is learned in minutes.
    """
    size, levels, device = len(latents), len(kept_shares), latents.device
    spread = (torch.randperm(size) + torch.rand(size)) / size
    low = spread * LOW_NOISE_END / LOW_NOISE_SHARE
    high = 1 - (1 - spread) * (1 - LOW_NOISE_END) / (1 - LOW_NOISE_SHARE)
    times = (torch.where(spread < LOW_NOISE_SHARE, low, high) * levels).long().clamp_max(levels - 1)
    kept = kept_shares[times].view(-1, 1, 1, 1).to(device)
    faint = (times >= LOW_NOISE_END * levels) & (torch.rand(size) < FAINT_SHARE)
    noise = torch.randn_like(latents) * torch.where(faint, torch.rand(size), 1.0).view(-1, 1, 1, 1).to(device)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    with torch.autocast(device.type, torch.bfloat16):
        guess = network(noisy.to(memory_format=torch.channels_last), times.to(device), states).sample
    return (guess.float() - velocity).square().mean()


def unet_train(folder: Path, budget_s: float) -> None:
    """On a CPU two processes of one thread each step the same weights in shared memory, without locks.

    On a busy machine that uses every idle moment of both cores; threads of one process wait for each other. A lost
    or late update does no more harm than the noise of a batch (arXiv 1106.5730).
    """
    torch.manual_seed(SEED)
    processes = 2 if DEVICE == "cpu" else 1
    unet = parts.build_unet().to(DEVICE, memory_format=torch.channels_last)
    unet.share_memory()
    average = parts.build_unet().to(DEVICE).requires_grad_(False)
    average.load_state_dict(unet.state_dict())
    followers = [Stage("unet", unet, folder, budget_s / processes, rank=rank) for rank in range(1, processes)]
    leader = Stage("unet", unet, folder, budget_s / processes, average)  # loads last: its weights count
    done = torch.tensor([stage.steps for stage in (leader, *followers)]).share_memory_()
    fork = multiprocessing.get_context("fork")
    helpers = [fork.Process(target=unet_work, args=(follower, done), daemon=True) for follower in followers]
    for helper in helpers:
        helper.start()
    unet_work(leader, done)
    for helper in helpers:
        helper.terminate()  # it saves what it has
        helper.join()


def unet_work(stage: Stage, done: Tensor) -> None:
    """One process's part. A follower waits when the leader does not move, so pausing the leader pauses all."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED + 2 * stage.steps + stage.rank)
    tokenizer = parts.build_tokenizer()
    rng = random.Random(SEED + 2 * stage.steps + stage.rank)
    captioner = Captioner(tokenizer, text_encoder_load(stage.folder, tokenizer).to(DEVICE), rng)
    network = torch.compile(stage.network, dynamic=False)
    kept = parts.build_scheduler().alphas_cumprod
    ahead = int(done[stage.rank] - done[0]) + FOLLOWER_LEAD_STEPS

    def pace() -> None:
        done[stage.rank] = stage.steps
        while stage.rank and int(done[stage.rank] - done[0]) > ahead:
            time.sleep(0.2)

    stage_run(stage, lambda: unet_loss(network, kept, *captioner.batch(BATCHES["unet"])), pace)
    done[stage.rank] = torch.iinfo(done.dtype).max // 2  # a finished leader holds nobody up
