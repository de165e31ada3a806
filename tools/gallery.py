"""Draws one contact sheet per operation with the installed models, through the engine that render workers use.

What is not installed appears on its sheet as the error that a caller would get, so a sheet never pretends. It needs
neither the database nor the web process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from inference.demo import DEFAULTS, NATIVE_SIDE_PX
from inference.engine import Engine, EngineSettings, Job, RenderFailed, control
from inference.engine.spec import (
    AdapterRef,
    BackgroundSpec,
    ControlRef,
    Family,
    IPAdapterRef,
    ModelRef,
    Operation,
    OutpaintSpec,
    RenderSpec,
    SafetySpec,
    UpscaleSpec,
)
from tools.contact_sheet import Cell, contact_sheet
from tools.environment import ROOT

PROMPTS = (
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a green triangle at the bottom on a white background",
    "a big purple heart on an orange background",
)
SCHEDULERS = (
    *("DDIM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep"),
    *("UniPCMultistep", "PNDM", "HeunDiscrete", "LCM"),
)
KINDS = (
    *("canny", "scribble", "tile", "lineart", "mlsd", "shuffle", "blur", "gray", "low_quality"),
    *("depth", "normal", "hed", "segmentation", "openpose"),
)
RANDOM_SIDE_PX = 128  # their pictures mean nothing at any side
# The files of adapters, inside MODEL_DIR.
LORA, EMBEDDING, VAE, IP_ADAPTER = "lora.safetensors", "embedding.safetensors", "vae", "ip_adapter.safetensors"
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One cell to be made: what to render, and the pictures that it names."""

    caption: str
    spec: RenderSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the models are: names inside MODEL_DIR, absolute paths, or `embedded:demo`."""

    model: ModelRef
    upscaler: str
    background: str
    masks: str
    controlnet: str
    side_px: int
    steps: int
    guidance_scale: float


class Gallery:
    def __init__(self, engine: Engine, sources: Sources, folder: Path) -> None:
        self.engine, self.sources, self.folder = engine, sources, folder
        scene, mask = _scene(sources.side_px)
        self.inputs: Mapping[str, Image.Image] = {"scene": scene, "mask": mask}
        self.base = RenderSpec(
            token="",  # each order gets its own
            account="gallery",
            operation=Operation.TEXT_TO_IMAGE,
            model=sources.model,
            prompt=PROMPTS[0],
            width_px=sources.side_px,
            height_px=sources.side_px,
            num_inference_steps=sources.steps,
            guidance_scale=sources.guidance_scale,
            seed=1,
        )

    def draw(self) -> list[Path]:
        sheets = {
            "text2img": self._text2img(),
            "schedulers": self._schedulers(),
            "img2img": self._img2img(),
            "inpaint": self._inpaint(),
            "outpaint": self._outpaint(),
            "controlnet": self._controlnet(),
            "upscale": self._upscale(),
            "remove_background": self._remove_background(),
            "create_mask": self._create_mask(),
            "safety": self._safety(),
            "check_safety": self._check_safety(),
            "adapters": self._adapters(),
            "options": self._options(),
        }
        return [self._sheet(name, orders) for name, orders in sheets.items()]

    def _sheet(self, name: str, orders: list[Order]) -> Path:
        """All orders of a sheet are under way at once, as they would be in a worker."""
        jobs = []
        for number, order in enumerate(orders):
            spec = dataclasses.replace(order.spec, token=f"{name}-{number}")
            jobs.append(self.engine.submit(spec, inputs=self.inputs))
        made = [self._cells(order, job) for order, job in zip(orders, jobs, strict=True)]
        cells = [Cell(caption="input", image=self.inputs["scene"])] if _takes_pictures(orders) else []
        for order, pictures in zip(orders, made, strict=True):
            cells += [*self._hints(order), *pictures]
        if any(order.spec.controls for order in orders):
            del cells[0]  # pairs of hint and picture then stand side by side
        path = self.folder / f"{name}.png"
        contact_sheet(name, cells).save(path)
        return path

    def _cells(self, order: Order, job: Job) -> list[Cell]:
        try:
            output = job.result(timeout=TIMEOUT_S)
        except RenderFailed as failure:
            return [_failed(order.caption, failure)]
        cells = []
        for made in output.images:
            size = f"{made.image.width} x {made.image.height} px, {output.run_ms} ms"
            cells.append(Cell(caption=order.caption, image=made.image, text="flagged" if made.flagged else size))
        return cells

    def _hints(self, order: Order) -> list[Cell]:
        """What the ControlNets of this order were shown. Only while the engine idles: hints share networks with it."""
        cells, side_px = [], self.sources.side_px
        for asked in order.spec.controls:
            try:
                hint = control.hint(asked.kind, self.inputs["scene"], side_px, side_px, self.engine.settings.model_dir)
                cells.append(Cell(caption=f"hint: {asked.kind}", image=hint))
            except RenderFailed as failure:
                cells.append(_failed(f"hint: {asked.kind}", failure))
        return cells

    def _order(self, caption: str, **changes: object) -> Order:
        return Order(caption=caption, spec=dataclasses.replace(self.base, **changes))  # type: ignore[arg-type]

    def _text2img(self) -> list[Order]:
        return [self._order(prompt, prompt=prompt, samples=2) for prompt in PROMPTS]

    def _schedulers(self) -> list[Order]:
        return [self._order(name, scheduler=f"{name}Scheduler") for name in SCHEDULERS]

    def _img2img(self) -> list[Order]:
        return [
            self._order(
                f"strength {strength}",
                operation=Operation.IMAGE_TO_IMAGE,
                init_images=("scene",),
                prompt=PROMPTS[1],
                strength=strength,
            )
            for strength in (0.2, 0.4, 0.6, 0.8, 1.0)
        ]

    def _inpaint(self) -> list[Order]:
        return [
            self._order(
                f"seed {seed}, the mask is the sun",
                operation=Operation.INPAINT,
                init_images=("scene",),
                mask_image="mask",
                prompt=PROMPTS[1],
                strength=1.0,
                seed=seed,
            )
            for seed in (1, 2, 3)
        ]

    def _outpaint(self) -> list[Order]:
        side = self.sources.side_px
        sizes = ((2 * side, side), (side, 2 * side), (2 * side, 2 * side))
        return [
            self._order(
                f"to {width} x {height} px",
                operation=Operation.OUTPAINT,
                init_images=("scene",),
                width_px=width,
                height_px=height,
                outpaint=OutpaintSpec(overlap_px=side // 16),
            )
            for width, height in sizes
        ]

    def _controlnet(self) -> list[Order]:
        orders = []
        for kind in KINDS:
            asked = ControlRef(kind=kind, source=self.sources.controlnet)
            orders.append(self._order(kind, controls=(asked,), init_images=("scene",)))
        several = tuple(ControlRef(kind=kind, source=self.sources.controlnet, scale=0.6) for kind in ("canny", "tile"))
        return [*orders, self._order("canny and tile at once", controls=several, init_images=("scene",))]

    def _upscale(self) -> list[Order]:
        model = ModelRef(model_id="upscaler", family=Family.UPSCALER, source=self.sources.upscaler)
        shared = {"operation": Operation.UPSCALE, "model": model, "init_images": ("scene",)}
        return [self._order(f"x{factor}", upscale=UpscaleSpec(factor=factor), **shared) for factor in (2, 3, 4)]

    def _remove_background(self) -> list[Order]:
        model = ModelRef(model_id="background", family=Family.BACKGROUND, source=self.sources.background)
        options = {
            "plain": BackgroundSpec(),
            "only_mask": BackgroundSpec(only_mask=True),
            "inverse_mask": BackgroundSpec(inverse_mask=True),
            "post_process_mask": BackgroundSpec(post_process_mask=True),
            "alpha_matting": BackgroundSpec(alpha_matting=True),
        }
        shared = {"operation": Operation.REMOVE_BACKGROUND, "model": model, "init_images": ("scene",)}
        return [self._order(name, background=spec, **shared) for name, spec in options.items()]

    def _create_mask(self) -> list[Order]:
        model = ModelRef(model_id="masks", family=Family.BACKGROUND, source=self.sources.masks)
        shared = {"operation": Operation.CREATE_MASK, "model": model, "init_images": ("scene",)}
        words = {"the main subject": "", "the house": "house", "the sun": "sun"}
        return [self._order(name, mask_subject=subject, **shared) for name, subject in words.items()]

    def _safety(self) -> list[Order]:
        actions = ("sensitive_content_text", "blur", "pixelate", "black")
        return [self._order(action, safety=SafetySpec(enabled=True, action=action)) for action in actions]

    def _check_safety(self) -> list[Order]:
        model = ModelRef(model_id="safety", family=Family.SAFETY, source=str(self.engine.settings.safety_dir))
        return [self._order("checked", operation=Operation.CHECK_SAFETY, model=model, init_images=("scene",))]

    def _adapters(self) -> list[Order]:
        ip_adapter = IPAdapterRef(adapter_id="ip", source=IP_ADAPTER, scale=0.8, image="scene")
        word = "<word>"
        return [
            self._order("without"),
            self._order("LoRA 0.5", loras=(AdapterRef(adapter_id="lora", source=LORA, strength=0.5),)),
            self._order("LoRA 1.0", loras=(AdapterRef(adapter_id="lora", source=LORA),)),
            self._order(
                "embedding",
                embeddings=(AdapterRef(adapter_id=word, source=EMBEDDING),),
                prompt=f"{PROMPTS[0]} {word}",
            ),
            self._order("another VAE", vae=AdapterRef(adapter_id="vae", source=VAE)),
            self._order("IP-Adapter of the scene", ip_adapter=ip_adapter),
            self._order("without, afterwards"),
        ]

    def _options(self) -> list[Order]:
        side = self.sources.side_px
        return [
            self._order("plain"),
            self._order("clip_skip 2", clip_skip=1),
            self._order("Karras levels", scheduler="DPM++ 2M Karras"),
            self._order("enhance_prompt", enhance_prompt=True),
            self._order("self_attention", self_attention=True),
            self._order("tomesd", tomesd=True),
            self._order("highres_fix", highres_fix=True, width_px=2 * side, height_px=2 * side),
            self._order("panorama", panorama=True, width_px=3 * side),
            self._order("upscale 2", upscale=UpscaleSpec(factor=2)),
        ]


def _failed(caption: str, failure: RenderFailed) -> Cell:
    return Cell(caption=caption, text=f"{failure.code}: {failure.message}")


def _takes_pictures(orders: list[Order]) -> bool:
    return any(order.spec.init_images for order in orders)


def _scene(side_px: int) -> tuple[Image.Image, Image.Image]:
    """A house under a sun, and the mask of the sun."""
    large = side_px * 4
    scene, mask = Image.new("RGB", (large, large), "#78b4e6"), Image.new("L", (large, large), 0)
    draw, unit = ImageDraw.Draw(scene), large / 16
    draw.rectangle((0, 11 * unit, large, large), fill="#4f9a4b")
    draw.rectangle((4 * unit, 7 * unit, 12 * unit, 13 * unit), fill="#e8d9b5", outline="#3a2f2a", width=large // 128)
    draw.polygon(((3 * unit, 7 * unit), (8 * unit, 3 * unit), (13 * unit, 7 * unit)), fill="#b5432f")
    draw.rectangle((7 * unit, 9 * unit, 9 * unit, 13 * unit), fill="#5b3b24")
    sun = (12 * unit, 1 * unit, 15 * unit, 4 * unit)
    draw.ellipse(sun, fill="#f6cf3c")
    ImageDraw.Draw(mask).ellipse(sun, fill=255)
    size = (side_px, side_px)
    return scene.resize(size, Image.Resampling.LANCZOS), mask.resize(size, Image.Resampling.LANCZOS)


@contextlib.contextmanager
def _random_models(sources: Sources, settings: EngineSettings) -> Iterator[tuple[Sources, EngineSettings]]:
    """Networks with random weights for what is not installed: their pictures mean nothing, their paths are real."""
    from tests.support import tiny_shop

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_shop.files(folder)
        for file, name in (("style", LORA), ("word", EMBEDDING), ("ip", IP_ADAPTER)):
            (folder / f"{file}.safetensors").rename(folder / name)
        (folder / "other-vae").rename(folder / VAE)
        tiny = dataclasses.replace(
            sources,
            model=ModelRef(model_id="tiny", family=Family.SD15, source="tiny"),
            upscaler="upscaler.safetensors",
            background="u2netp.pth",
            masks="clipseg",
            controlnet="controlnet",
        )
        yield tiny, dataclasses.replace(settings, model_dir=folder, safety_dir=Path("safety"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".run" / "gallery", help="folder of the sheets")
    parser.add_argument("--model", default="embedded:demo", help="base model (default: the demo model)")
    parser.add_argument("--family", type=Family, default=Family.SD15, choices=list(Family), help="its family")
    sides = f"side of the pictures in pixels (default: {NATIVE_SIDE_PX}, with --random {RANDOM_SIDE_PX})"
    parser.add_argument("--side", type=int, help=sides)
    parser.add_argument("--steps", type=int, default=DEFAULTS["steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"], help="default: the demo model's")
    parser.add_argument("--upscaler", default="upscaler", help="weight file for upscaling, in MODEL_DIR")
    parser.add_argument("--background", default="background", help="model that removes backgrounds, in MODEL_DIR")
    parser.add_argument("--masks", default="masks", help="model that finds named things, in MODEL_DIR")
    parser.add_argument("--controlnet", default="controlnet", help="a ControlNet of the base model's family")
    parser.add_argument("--random", action="store_true", help="tiny random networks instead of installed models")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sources = Sources(
        model=ModelRef(model_id="gallery", family=arguments.family, source=arguments.model),
        upscaler=arguments.upscaler,
        background=arguments.background,
        masks=arguments.masks,
        controlnet=arguments.controlnet,
        side_px=arguments.side or (RANDOM_SIDE_PX if arguments.random else NATIVE_SIDE_PX),
        steps=arguments.steps,
        guidance_scale=arguments.guidance,
    )
    settings = EngineSettings.from_environ()
    with contextlib.ExitStack() as stack:
        if arguments.random:
            sources, settings = stack.enter_context(_random_models(sources, settings))
        engine = Engine(settings)
        stack.callback(engine.close)
        for path in Gallery(engine, sources, arguments.out).draw():
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
