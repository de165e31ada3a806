"""First stage: the text encoder learns to read captions before any picture is drawn.

A UNet that starts with prompts it can tell apart follows colours after minutes. No picture is needed for that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from inference.demo import parts
from inference.demo.draw import COLOURS, POSITIONS, SHAPES, SIZES, Scene, caption, empty_caption, scene_draw
from inference.demo.stage import BATCHES, DEVICE, SEED, Stage, stage_run

EMPTY_CAPTION_SHARE: Final = 0.1
# What a caption can say: colour, background, shape, size and place, and the other object's colour and shape.
CLASSES: Final = tuple(map(len, (COLOURS, COLOURS, SHAPES, SIZES, POSITIONS, COLOURS, SHAPES)))


class Reader(nn.Module):
    """The text encoder with a linear answer for each thing a caption can say. Only the encoder is kept."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.answers = nn.ModuleList(nn.Linear(parts.TEXT_WIDTH, classes + 1) for classes in CLASSES)

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
    answers = list(CLASSES)
    if scene is None:
        return answers
    colours = list(COLOURS)
    answers[:3] = colours.index(scene.colour), colours.index(scene.background), SHAPES.index(scene.shape)
    answers[3:5] = SIZES.index(scene.size), list(POSITIONS).index(scene.position)
    if scene.other is not None:
        answers[5:] = colours.index(scene.other.colour), SHAPES.index(scene.other.shape)
    return answers


def text_batches(tokenizer: CLIPTokenizer, rng: random.Random) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Tokens, and for four places in each caption's row what the caption says."""
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
    reader = Reader(parts.build_text_encoder(tokenizer)).to(DEVICE)
    stage = Stage("text", reader, folder, budget_s)
    batches = text_batches(tokenizer, random.Random(SEED + stage.steps))
    stage_run(stage, lambda: reader(*(part.to(DEVICE) for part in next(batches))))


def text_encoder_load(folder: Path, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The finished encoder, on the CPU."""
    reader = Reader(parts.build_text_encoder(tokenizer))
    reader.load_state_dict(torch.load(folder / "text.pt", weights_only=True, map_location="cpu")["network"])
    return reader.encoder.eval().requires_grad_(False)
