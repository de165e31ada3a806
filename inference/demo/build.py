"""Writes a demo model with random weights: the right files in the right layout, drawing nothing but noise.

python -m inference.demo.build [FOLDER]. It stands in where no trained model is shipped, and says so in its card.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import torch

from inference.demo import MODEL_DIR, parts

LOUDER: Final = 20.0  # an untrained decoder is almost silent; pictures of different seeds must differ visibly
CARD: Final = """# Demo model with RANDOM weights

This is not a trained model. It has the layout of a Stable Diffusion pipeline and answers every prompt with
coloured noise. It exists so that the product can be installed, tested and shown end to end without any
download. Written by `python -m inference.demo.build`, seed {seed}. Replace it with a real model, or train one
with `python -m inference.demo.train`.
"""


def random_model_save(*, folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    tokenizer = parts.build_tokenizer()
    text_encoder = parts.build_text_encoder(tokenizer)
    vae = parts.build_autoencoder()
    with torch.no_grad():
        vae.decoder.layers[-1].weight.mul_(LOUDER)
        vae.decoder.layers[-1].bias.fill_(0.5)
    pipeline = parts.assemble(vae, text_encoder, tokenizer, parts.build_unet())
    parts.save(pipeline, folder, CARD.format(seed=seed))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", default=MODEL_DIR)
    random_model_save(folder=options.parse_args().folder)


if __name__ == "__main__":
    main()
