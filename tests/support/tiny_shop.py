"""One tiny model of every kind: the files in a model folder, and their rows in the catalogue of a running service.

`files` runs in the test's own process, `catalogue` in one that has the service's database.
"""

from __future__ import annotations

from pathlib import Path

# Family -> the drawing model and its ControlNet, by their ids and folders.
DRAWS = {"sd15": "tiny", "sdxl": "tiny-xl", "sd3": "tiny-sd3", "flux": "tiny-flux"}
FILL_COMMAND = "from tests.support.tiny_shop import catalogue; catalogue()"


def files(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from tests.support import tiny_checkpoints, tiny_models, tiny_operations

    tiny_operations.save_everything(folder)
    tiny_operations.clipseg_folder(folder / "clipseg")
    pipes = {
        "tiny": tiny_models.sd15(),
        "tiny-inpainting": tiny_models.sd15(in_channels=9),
        "tiny-xl": tiny_models.sdxl(),
        "tiny-sd3": tiny_models.sd3(),
        "tiny-flux": tiny_models.flux(),
    }
    for name, pipe in pipes.items():
        tiny_models.save(pipe, folder / name)
    pipe = pipes["tiny"]
    network = tiny_models.controlnet(pipe.unet)
    for layer in (network.controlnet_cond_embedding.conv_in, *network.controlnet_cond_embedding.blocks):
        layer.weight.data *= 3  # as they are, two hints differ by one grey level of the picture
    tiny_models.save(network, folder / "controlnet")
    tiny_models.save(tiny_models.sd15(seed=9).vae, folder / "other-vae")
    save_file(tiny_checkpoints.kohya_lora_state(pipe, seed=1), folder / "style.safetensors")
    save_file({"<cat>": torch.randn(2, 32, generator=torch.Generator().manual_seed(5))}, folder / "word.safetensors")
    save_file(tiny_checkpoints.ip_adapter_state(pipe.unet), folder / "ip.safetensors")
    tiny_models.save(tiny_models.clip_vision(), folder / "image_encoder")


def catalogue() -> None:
    from gateway.api.adapters import CONTROL_KINDS
    from inference.engine.spec import Operation
    from inference.models import Adapter, ImageModel

    drawing = [Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE, Operation.INPAINT, Operation.OUTPAINT]
    rows = [(source, family, source, drawing) for family, source in DRAWS.items()]
    rows += [
        ("tiny-inpainting", "sd15", "tiny-inpainting", drawing),
        ("z-image-turbo", "sd15", "tiny", drawing),  # names that a client library sends by itself
        ("flux-2-dev", "flux", "tiny-flux", drawing),
        ("upscaler", "upscaler", "upscaler.safetensors", [Operation.UPSCALE]),
        ("background", "background", "u2netp.pth", [Operation.REMOVE_BACKGROUND]),
        ("masks", "background", "clipseg", [Operation.CREATE_MASK]),
        ("checker", "safety", "safety", [Operation.CHECK_SAFETY]),
    ]
    for model_id, family, source, operations in rows:
        ImageModel.objects.create(
            model_id=model_id,
            name=model_id,
            family=family,
            source=source,
            operations=operations,
            price_code="sd15",
            width_px_default=64,
            height_px_default=64,
            steps_default=3,
        )
    for adapter_id, kind, source in (
        ("style", "lora", "style.safetensors"),
        ("<cat>", "embedding", "word.safetensors"),
        ("other", "vae", "other-vae"),
        ("ip-adapter_sd15", "ip_adapter", "ip.safetensors"),
    ):
        Adapter.objects.create(adapter_id=adapter_id, kind=kind, family="sd15", name=adapter_id, source=source)
    for kind in CONTROL_KINDS:
        Adapter.objects.create(
            adapter_id=f"control-{kind}",
            kind="controlnet",
            control_kind=kind,
            family="sd15",
            name=kind,
            source="controlnet",
        )
