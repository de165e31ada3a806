"""Trains the demo model from nothing on pictures it draws itself, in three resumable stages on the CPU.

python -m inference.demo.train --work FOLDER [--stage text|vae|unet] [--budget-s N]. Stages keep their state in the
work folder and count their budget in CPU seconds, so a run may be paused, stopped and started again at will.
`python -m inference.demo.release` turns the work folder into a shipped model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from inference.demo import NATIVE_SIDE_PX, parts
from inference.demo.draw import COLOURS, POSITIONS, SHAPES, SIZES, Scene, caption, empty_caption, picture, scene_draw

SEED: Final = 20260
# CPU seconds of each stage, and the pictures or captions of one step.
BUDGETS_S: Final = {"text": 200.0, "vae": 500.0, "unet": 9000.0}
BATCHES: Final = {"text": 64, "vae": 16, "unet": 32}
LEARNING_RATES: Final = {"text": 1e-3, "vae": 2e-3, "unet": 1e-3}
CHECKPOINT_EVERY_S: Final = 240.0
EMPTY_CAPTION_SHARE: Final = 0.1
EARLY_LAYER_SHARE: Final = 0.05  # captions read one layer early, so that clip_skip stays harmless
CROP_PX: Final = 64
PLAIN_SHARE: Final = 0.85  # of the UNet's scenes: middle-sized, in the middle; shapes are learned there first
FOLLOWER_LEAD_STEPS: Final = 8


@dataclass
class Stage:
    """One network in training: its averaged copy, its optimiser, and how far it has come."""

    name: str
    network: nn.Module
    folder: Path
    budget_s: float
    average: nn.Module | None = None
    rank: int = 0
    steps: int = 0
    used_s: float = 0.0
    loss: float = 0.0
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        rate = LEARNING_RATES[self.name]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        if self.path.exists():
            self.load()

    @property
    def path(self) -> Path:
        return self.folder / (f"{self.name}-{self.rank}.pt" if self.rank else f"{self.name}.pt")

    def load(self) -> None:
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.used_s = state["steps"], state["used_s"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def save(self) -> None:
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"steps": self.steps, "used_s": self.used_s}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        unfinished = self.path.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self.path)

    def budget_reread(self) -> None:
        """A number in the file `budget_s` replaces the budget of the stage while it runs."""
        wish = self.folder / "budget_s"
        if wish.exists():
            self.budget_s = float(wish.read_text())

    def rate(self) -> float:
        """Warm up, stay, then fall in a straight line over the last two fifths of the budget."""
        left = max(0.0, 1 - self.used_s / self.budget_s)
        return LEARNING_RATES[self.name] * min(1.0, (self.steps + 1) / 100, left / 0.4 + 0.01)

    def step(self, loss: Tensor) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.loss = loss.item() if self.loss == 0 else 0.98 * self.loss + 0.02 * loss.item()
        self._average_update()

    @torch.no_grad()
    def _average_update(self) -> None:
        if self.average is None:
            return
        keep = min(0.999, (1 + self.steps) / (10 + self.steps))
        own, new = list(self.average.parameters()), list(self.network.parameters())
        torch._foreach_lerp_(own, new, 1 - keep)


def stage_run(stage: Stage, losses: Callable[[], Tensor], pace: Callable[[], None] = lambda: None) -> None:
    """Steps until the stage's CPU budget is used or the process is told to stop, saving now and then and at the end."""
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    before_s, saved_s = time.process_time() - stage.used_s, stage.used_s
    while stage.used_s < stage.budget_s and not stops:
        pace()
        stage.step(losses())
        stage.used_s = time.process_time() - before_s
        if stage.steps % 50 == 0:
            stage.budget_reread()
            told = f"{stage.path.stem} step {stage.steps} loss {stage.loss:.4f} rate {stage.rate():.1e}"
            print(f"{time.strftime('%H:%M:%S')} {told} cpu {stage.used_s:.0f} s", flush=True)
        if stage.used_s - saved_s > CHECKPOINT_EVERY_S:
            stage.save()
            saved_s = stage.used_s
    stage.save()


# --- text: the encoder learns to read captions before any picture is drawn -------------------------------------------


class Reader(nn.Module):
    """The text encoder with a linear answer for each thing a caption can say. Only the encoder is kept."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        sizes = (len(COLOURS) + 1, len(COLOURS) + 1, len(SHAPES) + 1, len(SIZES) + 1, len(POSITIONS) + 1)
        self.answers = nn.ModuleList(nn.Linear(parts.TEXT_WIDTH, size) for size in sizes)

    def forward(self, tokens: Tensor, rows: Tensor, places: Tensor, truth: Tensor) -> Tensor:
        """The mean error of both last layers, read at the end of the caption and in the padding after it."""
        hidden = self.encoder(tokens, output_hidden_states=True).hidden_states
        loss = tokens.new_zeros((), dtype=torch.float32)
        for layer in hidden[-2:]:
            read = self.encoder.text_model.final_layer_norm(layer)[rows, places]
            for answer, column in zip(self.answers, truth.T, strict=True):
                loss = loss + functional.cross_entropy(answer(read).float(), column)
        return loss / 2


def scene_answers(scene: Scene | None) -> list[int]:
    """The classes of a caption; the last of each is "says nothing"."""
    if scene is None:
        return [len(COLOURS), len(COLOURS), len(SHAPES), len(SIZES), len(POSITIONS)]
    colours = list(COLOURS)
    answers = [colours.index(scene.colour), colours.index(scene.background), SHAPES.index(scene.shape)]
    return [*answers, SIZES.index(scene.size), list(POSITIONS).index(scene.position)]


def text_batches(tokenizer: CLIPTokenizer, rng: random.Random) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    size = BATCHES["text"]
    while True:
        told = [None if rng.random() < EMPTY_CAPTION_SHARE else scene_draw(rng) for _ in range(size)]
        captions = [empty_caption(rng) if scene is None else caption(scene, rng) for scene in told]
        length = rng.choice((40, 40, parts.TOKENS))
        tokens = tokens_of(tokenizer, captions, length)
        ends = (tokens == tokenizer.eos_token_id).int().argmax(dim=1)
        spans = torch.tensor([0.0, 0.15, 0.5, 1.0])[:, None] * (length - 1 - ends)
        places = (ends + spans.round()).long().flatten()
        truth = torch.tensor([scene_answers(scene) for scene in told]).repeat(4, 1)
        yield tokens, torch.arange(size).repeat(4), places, truth


def tokens_of(tokenizer: CLIPTokenizer, captions: list[str], length: int = parts.TOKENS) -> Tensor:
    read = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    tokens: Tensor = read.input_ids
    return tokens


def text_train(folder: Path, budget_s: float) -> None:
    torch.manual_seed(SEED)
    tokenizer = parts.build_tokenizer()
    reader = Reader(parts.build_text_encoder(tokenizer))
    stage = Stage("text", reader, folder, budget_s)
    batches = text_batches(tokenizer, random.Random(SEED + stage.steps))
    stage_run(stage, lambda: reader(*next(batches)))


def text_encoder_load(folder: Path, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    reader = Reader(parts.build_text_encoder(tokenizer))
    Stage("text", reader, folder, 1.0)
    return reader.encoder.eval().requires_grad_(False)


# --- pictures --------------------------------------------------------------------------------------------------------


def pictures_draw(told: list[Scene], rng: random.Random) -> Tensor:
    """Pictures of the scenes as a float tensor in [-1, 1]."""
    drawn = np.stack([np.asarray(picture(scene, rng, NATIVE_SIDE_PX)) for scene in told])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def crops_draw(rng: random.Random) -> Tensor:
    """Random crops, most of them across an outline, where there is something to learn."""
    crops = []
    for image in pictures_draw([scene_draw(rng) for _ in range(BATCHES["vae"])], rng):
        tries = [[8 * rng.randrange((NATIVE_SIDE_PX - CROP_PX) // 8 + 1) for _ in "xy"] for _ in range(4)]
        cut = [image[:, y : y + CROP_PX, x : x + CROP_PX] for x, y in tries]
        crops.append(max(cut, key=lambda crop: float(crop.std(dim=(1, 2)).max())))
    return torch.stack(crops).to(memory_format=torch.channels_last)


def vae_loss(vae: Any, pictures: Tensor) -> Tensor:
    """The encoder must make the pinned code; the decoder must undo it sharply, even when the code is a little off."""
    code = parts.pinned_code(pictures)
    noisy = code + 0.06 * torch.rand(len(code), 1, 1, 1) * torch.randn_like(code)
    encoded, decoded = vae.encode(pictures).latents, vae.decode(noisy).sample
    error = decoded - pictures
    edges = sum((error.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges + 3 * (encoded - code).square().mean()


def vae_train(folder: Path, budget_s: float) -> None:
    torch.manual_seed(SEED)
    vae: Any = parts.build_autoencoder().to(memory_format=torch.channels_last)
    stage = Stage("vae", vae, folder, budget_s)
    rng = random.Random(SEED + stage.steps)

    def losses() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return vae_loss(vae, crops_draw(rng))

    stage_run(stage, losses)


# --- the UNet --------------------------------------------------------------------------------------------------------


@dataclass
class Captioner:
    """Draws scenes and reads their captions with the finished text encoder."""

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel
    rng: random.Random

    @torch.no_grad()
    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Latents and the text states that go with them."""
        told = [scene_draw(self.rng, PLAIN_SHARE) for _ in range(size)]
        captions = [
            empty_caption(self.rng) if self.rng.random() < EMPTY_CAPTION_SHARE else caption(scene, self.rng)
            for scene in told
        ]
        layers = self.encoder(tokens_of(self.tokenizer, captions), output_hidden_states=True).hidden_states
        early = torch.rand(size, 1, 1) < EARLY_LAYER_SHARE
        states = self.encoder.text_model.final_layer_norm(torch.where(early, layers[-2], layers[-1]))
        return parts.pinned_code(pictures_draw(told, self.rng)) * parts.LATENT_SCALE, states


def unet_loss(network: Callable[..., Any], kept_shares: Tensor, latents: Tensor, states: Tensor) -> Tensor:
    """The error of the predicted velocity at stratified noise levels, more of them high: there shapes are decided."""
    size, levels = len(latents), len(kept_shares)
    spread = (torch.randperm(size) + torch.rand(size)) / size
    times = (spread**0.75 * levels).long().clamp_max(levels - 1)
    kept = kept_shares[times].view(-1, 1, 1, 1)
    noise = torch.randn_like(latents)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        guess = network(noisy.to(memory_format=torch.channels_last), times, states).sample
    return (guess.float() - velocity).square().mean()


def unet_train(folder: Path, budget_s: float) -> None:
    """Two processes of one thread each step the same weights in shared memory, without locks.

    On a busy machine that uses every idle moment of both cores; threads of one process wait for each other. A lost
    or late update does no more harm than the noise of a batch (arXiv 1106.5730).
    """
    torch.manual_seed(SEED)
    unet = parts.build_unet().to(memory_format=torch.channels_last)
    unet.share_memory()
    average = parts.build_unet().requires_grad_(False)
    average.load_state_dict(unet.state_dict())
    follower = Stage("unet", unet, folder, budget_s / 2, rank=1)
    leader = Stage("unet", unet, folder, budget_s / 2, average)  # loads last: its weights count
    done = torch.tensor([leader.steps, follower.steps]).share_memory_()
    process = multiprocessing.get_context("fork").Process(target=unet_work, args=(follower, done), daemon=True)
    process.start()
    unet_work(leader, done)
    process.terminate()  # it saves what it has
    process.join()


def unet_work(stage: Stage, done: Tensor) -> None:
    """One process's part. The follower waits when the leader does not move, so pausing the leader pauses both."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED + 2 * stage.steps + stage.rank)
    tokenizer = parts.build_tokenizer()
    rng = random.Random(SEED + 2 * stage.steps + stage.rank)
    captioner = Captioner(tokenizer, text_encoder_load(stage.folder, tokenizer), rng)
    network = torch.compile(stage.network, dynamic=False)
    kept = parts.build_scheduler().alphas_cumprod
    ahead = int(done[1] - done[0]) + FOLLOWER_LEAD_STEPS

    def pace() -> None:
        done[stage.rank] = stage.steps
        while stage.rank and int(done[1] - done[0]) > ahead:
            time.sleep(0.2)

    stage_run(stage, lambda: unet_loss(network, kept, *captioner.batch(BATCHES["unet"])), pace)
    done[stage.rank] = torch.iinfo(done.dtype).max // 2  # a finished leader holds nobody up


def pipeline_load(folder: Path, *, averaged: bool = True) -> StableDiffusionPipeline:
    """The pipeline as far as it has been trained."""
    tokenizer = parts.build_tokenizer()
    vae, unet = parts.build_autoencoder(), parts.build_unet()
    vae.load_state_dict(torch.load(folder / "vae.pt", weights_only=True)["network"])
    state = torch.load(folder / "unet.pt", weights_only=True)
    unet.load_state_dict(state["average" if averaged else "network"])
    return parts.assemble(vae.eval(), text_encoder_load(folder, tokenizer), tokenizer, unet.eval())


STAGES: Final[dict[str, Callable[[Path, float], None]]] = {"text": text_train, "vae": vae_train, "unet": unet_train}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True, help="folder for checkpoints, outside the repository")
    options.add_argument("--stage", choices=STAGES, help="one stage only; default: all in turn")
    options.add_argument("--budget-s", type=float, help="CPU seconds of that stage, those already used included")
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    (chosen.work / "pid").write_text(f"{os.getpid()}\n")
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(True)
    for name in [chosen.stage] if chosen.stage else STAGES:
        STAGES[name](chosen.work, chosen.budget_s or BUDGETS_S[name])


if __name__ == "__main__":
    main()
