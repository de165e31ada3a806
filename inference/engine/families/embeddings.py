"""Textual inversion: words that a job brings along, known to the text encoders only while its prompt is encoded.

Nothing is written into the shared encoders or tokenizers: a copy of the tokenizer learns the words, and a hook on the
embedding layer answers for their numbers. So no other job can ever say them.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.engine.errors import RenderFailed
from inference.engine.families.sample import Model
from inference.engine.weightfile import State, read_state, unreadable

# Which tensor of an embedding file belongs to which encoder; SDXL files name both, others hold a single tensor.
ENCODERS = {"text_encoder": ("tokenizer", "clip_l"), "text_encoder_2": ("tokenizer_2", "clip_g")}


@dataclass(frozen=True, eq=False, slots=True)
class Embedding:
    """One word (or several vectors under one word) by encoder width."""

    token: str
    vectors: dict[str, torch.Tensor]


def flattened(file: Path) -> State:
    """The file's tensors; AUTOMATIC1111's pickled files keep theirs one level down, under string_to_param."""
    if file.suffix == ".safetensors":
        return read_state(file)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # The unpickler raises its own types for damaged files and for code.
        raise unreadable(file, f"{type(error).__name__} while reading it") from error
    if not isinstance(content, dict):
        raise unreadable(file, "it holds no embedding")
    inner = content.get("string_to_param", content)
    return {str(name): tensor for name, tensor in inner.items() if torch.is_tensor(tensor)}


def read_embedding(label: str, state: State) -> Embedding:
    """From diffusers' files ({token: tensor}), AUTOMATIC1111's (emb_params) and SDXL's (clip_l, clip_g)."""
    vectors = {name: tensor for name, tensor in state.items() if tensor.ndim in (1, 2) and tensor.is_floating_point()}
    if not vectors:
        raise RenderFailed(code="invalid_adapter", message=f"{label} holds no embedding.")
    named = next((name for name in vectors if name.startswith("<")), None) if len(vectors) == 1 else None
    return Embedding(named or label, {name: t.reshape(-1, t.shape[-1]) for name, t in vectors.items()})


@contextlib.contextmanager
def taught(model: Model, embeddings: Sequence[Embedding]) -> Iterator[None]:
    """Within, the model's text encoders know the words."""
    with contextlib.ExitStack() as stack:
        for name, (tokenizer_name, kind) in ENCODERS.items():
            encoder, tokenizer = getattr(model.pipe, name, None), getattr(model.pipe, tokenizer_name, None)
            if embeddings and encoder is not None and hasattr(encoder, "text_model"):
                stack.enter_context(_taught(model, tokenizer_name, tokenizer, encoder, kind, embeddings))
        yield


@contextlib.contextmanager
def _taught(
    model: Model, tokenizer_name: str, tokenizer: Any, encoder: Any, kind: str, embeddings: Sequence[Embedding]
) -> Iterator[None]:
    layer = encoder.text_model.embeddings.token_embedding
    width, first_id = layer.weight.shape[1], len(tokenizer)
    learned, rows = copy.deepcopy(tokenizer), []
    for embedding in embeddings:
        vectors = _fitting(embedding, kind, width)
        # diffusers' prompt conversion writes a word of several vectors as word, word_1, word_2, ...
        learned.add_tokens([embedding.token, *(f"{embedding.token}_{i}" for i in range(1, len(vectors)))])
        rows.append(vectors)
    table = torch.cat(rows).to(layer.weight)
    if len(learned) != first_id + len(table):
        raise RenderFailed(code="invalid_adapter", message="Two embeddings bring the same word, or a known one.")
    hooks = [layer.register_forward_pre_hook(_Known(first_id)), layer.register_forward_hook(_Answer(first_id, table))]
    setattr(model.pipe, tokenizer_name, learned)
    try:
        yield
    finally:
        setattr(model.pipe, tokenizer_name, tokenizer)
        for hook in hooks:
            hook.remove()


def _fitting(embedding: Embedding, kind: str, width: int) -> torch.Tensor:
    for vectors in (embedding.vectors.get(kind), *embedding.vectors.values()):
        if vectors is not None and vectors.shape[1] == width:
            return vectors
    message = f"The embedding {embedding.token} does not fit this family of models: it has no vectors of width {width}."
    raise RenderFailed(code="invalid_adapter", message=message)


class _Known:
    """The layer itself is only asked for numbers that it knows; what was asked is kept for the answer."""

    def __init__(self, first_id: int) -> None:
        self.first_id = first_id

    def __call__(self, module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        module._asked = args[0]
        return (args[0].masked_fill(args[0] >= self.first_id, 0), *args[1:])


class _Answer:
    def __init__(self, first_id: int, table: torch.Tensor) -> None:
        self.first_id, self.table = first_id, table

    def __call__(self, module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        asked = module._asked
        del module._asked
        new = asked >= self.first_id
        output = output.clone()
        output[new] = self.table[asked[new] - self.first_id].to(output)
        return output
