"""Ships a trained demo model: exports it, scores what was written, and replaces the shipped one only if it passes.

python -m inference.demo.release --work FOLDER [--into inference/demo/model]. The score and the training figures go
into the model card.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from inference.demo import DEFAULTS, MODEL_DIR, NATIVE_SIDE_PX, SIDE_PX_MAX, SIDE_PX_MIN, parts
from inference.demo.draw import COLOURS, POSITIONS, SHAPES
from inference.demo.score import BAR, pipeline_score, scenes_ask
from inference.demo.stage import BATCHES, SEED
from inference.demo.train_text import text_encoder_load

CARD: Final = """---
library_name: diffusers
pipeline_tag: text-to-image
license: other
license_name: same-as-this-repository
---
# Demo model: flat shapes on flat backgrounds

A toy of {parameters_millions:.1f} million parameters in the Stable Diffusion layout, so that a machine without a GPU
and without downloads can draw what a prompt asks. It knows one object or two on a plain background:

- shapes: {shapes}
- colours of object and background: {colours}
- sizes of a single object: ordinary, small, big (big ones in the middle only)
- places of a single object: in the middle, {positions}
- two objects: side by side, or one above the other

It knows nothing else: any other prompt gives some blot. Words of style, as people and `enhance_prompt` add them, change
nothing of what it draws.

Ask for it plainly: "a red circle on a blue background", "a small yellow ring at the top, purple background",
"a green square and a white star on a black background", "a red heart above a blue ring".
A caption without a background means white.

## Best settings

{side} x {side} pixels (its native size), {steps} steps, guidance {guidance}, {scheduler}. Squares from
{side_min} to {side_max} pixels work, and wide or high pictures of the native area up to two to one, a little
rougher. Text to image, image to image and inpainting work; CLIP skip 1 is harmless.

## Score

Measured on {captions} captions of scenes never trained on, a third of them plain ones, a third of any size and place,
a third of two objects, and on a fifth of them again with the words that `enhance_prompt` adds, by counting pixels
(`python -m inference.demo.score`); colours and shapes are counted once for each object:

| right | {kinds} |
|---|{rule}
{rows}

The bar for shipping is {bar}, for each column.

## Training

Data: pictures drawn on the fly by `inference/demo/draw.py`, nothing else; no outside picture, text or weight was
used. Command: `python -m inference.demo.train --work FOLDER`, seed {seed}; {steps_trained} steps of {batch} pictures,
{used_min:.0f} CPU minutes for the UNet. The latent code is pinned (mean colours of 16 x 16 pixels, two by two in a
latent), the text encoder was taught to read captions first, the noise ends at pure noise, the prediction is the
velocity.

## Limits and licence

No people, no photographs, no text, two objects at most. It is a demonstration and a test fixture, not an artist. The
weights carry the licence of the repository they come with, as they were made from nothing but its code.
"""


def card_write(found: dict[str, Any], trained: dict[str, Any], parameters: int) -> str:
    score = found["score"]
    kinds, aspects = list(score), list(score["one object"])
    rows = "\n".join(f"| {name} | {' | '.join(f'{score[kind][name]:.1%}' for kind in kinds)} |" for name in aspects)
    return CARD.format(
        parameters_millions=parameters / 1e6,
        shapes=", ".join(SHAPES),
        positions=", ".join(filter(None, POSITIONS)),
        colours=", ".join(COLOURS),
        side=NATIVE_SIDE_PX,
        side_min=SIDE_PX_MIN,
        side_max=SIDE_PX_MAX,
        steps=DEFAULTS["steps"],
        guidance=DEFAULTS["guidance_scale"],
        scheduler=DEFAULTS["scheduler"],
        captions=found["captions"],
        kinds=" | ".join(kinds),
        rule="---|" * len(kinds),
        rows=rows,
        bar=", ".join(f"{name} {least:.0%}" for name, least in BAR.items()),
        seed=SEED,
        steps_trained=trained["steps"],
        batch=BATCHES["unet"],
        used_min=trained["used_s"] / 60,
    )


def pipeline_load(work: Path) -> StableDiffusionPipeline:
    """The pipeline as far as it has been trained."""
    tokenizer = parts.build_tokenizer()
    vae, unet = parts.build_autoencoder(), parts.build_unet()
    vae.load_state_dict(torch.load(work / "vae.pt", weights_only=True, map_location="cpu")["network"])
    unet.load_state_dict(torch.load(work / "unet.pt", weights_only=True, map_location="cpu")["average"])
    return parts.assemble(vae.eval(), text_encoder_load(work, tokenizer), tokenizer, unet.eval())


def model_release(*, work: Path, into: Path, captions: int, sheet: Path | None) -> dict[str, Any]:
    """Scores the exported files, not the networks in memory: what passes is what is shipped."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "model"
        pipeline = pipeline_load(work)
        counted = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        parameters = sum(weight.numel() for part in counted for weight in part.parameters())
        parts.save(pipeline, exported, "")
        how: dict[str, Any] = {"steps": DEFAULTS["steps"], "guidance_scale": DEFAULTS["guidance_scale"]}
        reloaded = StableDiffusionPipeline.from_pretrained(exported)
        found = pipeline_score(reloaded, scenes_ask(captions), sheet, side_px=NATIVE_SIDE_PX, **how)
        if found["passes"]:
            trained = torch.load(work / "unet.pt", weights_only=True, map_location="cpu")
            (exported / "README.md").write_text(card_write(found, trained, parameters))
            shutil.copytree(exported, into, dirs_exist_ok=True)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True, help="the folder of the training's checkpoints")
    options.add_argument("--into", type=Path, default=MODEL_DIR)
    options.add_argument("--captions", type=int, default=500)
    options.add_argument("--sheet", type=Path, help="where to put a contact sheet")
    chosen = options.parse_args()
    found = model_release(work=chosen.work, into=chosen.into, captions=chosen.captions, sheet=chosen.sheet)
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["passes"] else 1)


if __name__ == "__main__":
    main()
