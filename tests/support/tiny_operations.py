"""Tiny stand-ins for the models of the engine's operations, in the published key layouts, and pictures to try them on.

The layouts are written out here by name, apart from the networks that read them: a network that renames its layers
no longer loads what operators have on disk, and the tests then say so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    DPTConfig,
    DPTForDepthEstimation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    YolosConfig,
    YolosForObjectDetection,
)

from tests.support.tiny_models import clip_tokenizer, rrdbnet_state, safety_checker

State = dict[str, torch.Tensor]

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


# --- Pictures ---------------------------------------------------------------------------------------------------------


def disc(width_px: int = 96, height_px: int = 64, colour: str = "#d03020", ground: str = "#2050c0") -> Image.Image:
    """A disc in the middle of a plain ground."""
    image = Image.new("RGB", (width_px, height_px), ground)
    radius = min(width_px, height_px) / 4
    middle = (width_px / 2, height_px / 2)
    box = (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius)
    ImageDraw.Draw(image).ellipse(box, fill=colour)
    return image


def noise(width_px: int, height_px: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def house(side_px: int = 128) -> Image.Image:
    """Straight dark lines on white: walls, a roof, a door."""
    image = Image.new("RGB", (side_px, side_px), "white")
    draw = ImageDraw.Draw(image)
    unit = side_px / 16
    draw.rectangle((3 * unit, 7 * unit, 13 * unit, 14 * unit), outline="black", width=2)
    draw.line((3 * unit, 7 * unit, 8 * unit, 2 * unit, 13 * unit, 7 * unit), fill="black", width=2)
    draw.rectangle((7 * unit, 10 * unit, 9 * unit, 14 * unit), outline="black", width=2)
    return image


# --- Weight files -----------------------------------------------------------------------------------------------------


class _Writer:
    """Collects random tensors under the names of a layout."""

    def __init__(self, seed: int = 0, std: float = 0.05) -> None:
        self.state: State = {}
        self._generator, self._std = torch.Generator().manual_seed(seed), std

    def conv(self, name: str, inputs: int, outputs: int, side: int = 3, *, bias: bool = True) -> None:
        self.state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=self._generator) * self._std
        if bias:
            self.state[f"{name}.bias"] = torch.zeros(outputs)

    def norm(self, name: str, channels: int) -> None:
        for leaf, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.state[f"{name}.{leaf}"] = torch.full((channels,), value)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(0)


def save_state(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def compact_state(*, channels: int = 8, convolutions: int = 2, scale: int = 4) -> State:
    """The layout of realesr-general-x4v3: convolutions at even places, activations at odd ones, in `body`."""
    writer = _Writer()
    writer.conv("body.0", 3, channels)
    for place in range(convolutions + 1):
        writer.state[f"body.{2 * place + 1}.weight"] = torch.full((channels,), 0.25)
        last = place == convolutions
        writer.conv(f"body.{2 * place + 2}", channels, 3 * scale**2 if last else channels)
    return writer.state


def first_esrgan_names(state: State) -> State:
    """A Real-ESRGAN state under the names of the ESRGAN of 2018."""
    plain = {"conv_first": "model.0", "conv_up1": "model.3", "conv_up2": "model.6"}
    plain |= {"conv_hr": "model.8", "conv_last": "model.10"}
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    plain["conv_body"] = f"model.1.sub.{blocks}"
    renamed: State = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        inner = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", layer)
        renamed[f"{plain.get(layer, inner)}.{leaf}"] = tensor
    return renamed


def second_esrgan_names(state: State) -> State:
    """A Real-ESRGAN state under the names of BSRGAN's files."""
    renamed: State = {}
    for name, tensor in state.items():
        name = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", name)
        name = name.replace("conv_body", "trunk_conv").replace("conv_up", "upconv").replace("conv_hr", "HRconv")
        renamed[name] = tensor
    return renamed


def saliency_state(*, isnet: bool = False, channels: int = 4) -> State:
    """U2-Net (with a fusing last layer) or IS-Net (with a folding first one), every block `channels` wide."""
    writer = _Writer(std=0.3)
    if isnet:
        writer.conv("conv_in", 3, channels)
    depths = {"1": 7, "2": 6, "3": 5, "4": 4, "5": 4, "6": 4, "5d": 4, "4d": 4, "3d": 5, "2d": 6, "1d": 7}
    for stage, depth in depths.items():
        inputs = 2 * channels if stage.endswith("d") else channels
        inputs = 3 if stage == "1" and not isnet else inputs
        layers = {"in": inputs} | {str(level): channels for level in range(1, depth + 1)}
        layers |= {f"{level}d": 2 * channels for level in range(1, depth)}
        for layer, wide in layers.items():
            writer.conv(f"stage{stage}.rebnconv{layer}.conv_s1", wide, channels)
            writer.norm(f"stage{stage}.rebnconv{layer}.bn_s1", channels)
    for side in range(1, 7):
        writer.conv(f"side{side}", channels, 1)
    if not isnet:
        writer.conv("outconv", 6, 1, 1)
    return writer.state


def hed_state(widths: tuple[int, ...] = (4, 4, 8, 8, 8)) -> State:
    """ControlNetHED.pth: two, two, three, three and three convolutions, a projection each, and the mean colour."""
    writer = _Writer(std=0.02)
    writer.state["norm"] = torch.full((1, 3, 1, 1), 120.0)
    inputs = 3
    for number, (outputs, layers) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), start=1):
        for place in range(layers):
            writer.conv(f"block{number}.convs.{place}", inputs, outputs)
            inputs = outputs
        writer.conv(f"block{number}.projection", outputs, 1, 1)
    return writer.state


def lineart_state(channels: int = 4, blocks: int = 3) -> State:
    """sk_model.pth: normalisation without weights, so only the convolutions are in the file."""
    writer = _Writer(std=0.2)
    writer.conv("model0.1", 3, channels, 7)
    writer.conv("model1.0", channels, 2 * channels)
    writer.conv("model1.3", 2 * channels, 4 * channels)
    for block in range(blocks):
        writer.conv(f"model2.{block}.conv_block.1", 4 * channels, 4 * channels)
        writer.conv(f"model2.{block}.conv_block.5", 4 * channels, 4 * channels)
    for place, inputs in ((0, 4 * channels), (3, 2 * channels)):
        writer.conv(f"model3.{place}", inputs // 2, inputs)  # transposed: inputs come first
        writer.state[f"model3.{place}.bias"] = torch.zeros(inputs // 2)
    writer.conv("model4.1", channels, 1, 7)
    return writer.state


def mlsd_state() -> State:
    """mlsd_large_512_fp32.pth, at its real width of 1.5 million numbers."""
    writer = _Writer()
    for name, inputs, outputs, side in _mlsd_trunk():
        writer.conv(name, inputs, outputs, side, bias=False)
        stem, _, place = name.rpartition(".")
        writer.norm(f"{stem}.{int(place) + 1}", outputs)
    for block, fine, coarse in ((15, 64, 96), (17, 32, 64), (19, 24, 64), (21, 16, 64)):
        layers = [(f"block{block}.conv1", coarse, 64, 1), (f"block{block}.conv2", fine, 64, 1)]
        layers += [(f"block{block + 1}.conv1", 128, 128, 3), (f"block{block + 1}.conv2", 128, 64, 3)]
        for name, inputs, outputs, side in layers:
            writer.conv(f"{name}.0", inputs, outputs, side)
            writer.norm(f"{name}.1", outputs)
    for name in ("block23.conv1", "block23.conv2"):
        writer.conv(f"{name}.0", 64, 64)
        writer.norm(f"{name}.1", 64)
    writer.conv("block23.conv3", 64, 16, 1)
    return writer.state


def _mlsd_trunk() -> list[tuple[str, int, int, int]]:
    layers = [("backbone.features.0.0", 4, 32, 3)]
    inputs, number = 32, 1
    for expansion, outputs, repeats in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3)):
        for _ in range(repeats):
            prefix, hidden = f"backbone.features.{number}.conv", inputs * expansion
            parts = [(hidden, inputs, 1)] if expansion > 1 else []
            for place, (channels, wide, side) in enumerate([*parts, (hidden, 1, 3)]):
                layers.append((f"{prefix}.{place}.0", wide, channels, side))
            layers.append((f"{prefix}.{len(parts) + 1}", hidden, outputs, 1))
            inputs, number = outputs, number + 1
    return layers


def upscaler_file(folder: Path, *, scale: int = 4) -> Path:
    return save_state(rrdbnet_state(scale=scale), folder / f"upscaler_x{scale}.safetensors")


# --- Folders of the transformers library ------------------------------------------------------------------------------


def _folder(model: Any, folder: Path, processor: dict[str, Any]) -> Path:
    """A published model's folder: the processor's settings name the class without its back end."""
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def depth_folder(folder: Path, *, metric: bool = False) -> Path:
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
        readout_type="ignore",
        reassemble_factors=[4, 2, 1, 0.5],
        depth_estimation_type="metric" if metric else "relative",
    )
    processor = {"image_processor_type": "DPTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}}
    model = DPTForDepthEstimation(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # at the usual start the answer hardly depends on the picture
    return _folder(model, folder, processor | _IMAGENET | {"do_normalize": True})


def segmentation_folder(folder: Path, labels: tuple[str, ...], *, favourite: int | None = None) -> Path:
    """`favourite` is the class that wins everywhere, so that its meaning can be tested on random weights."""
    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        num_attention_heads=[1, 2],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = SegformerForSemanticSegmentation(config)
    bias = model.decode_head.classifier.bias
    assert bias is not None
    if favourite is not None:
        bias.data[favourite] = 50.0
    processor = {"feature_extractor_type": "SegformerFeatureExtractor", "size": {"height": 64, "width": 64}}
    return _folder(model, folder, processor | _IMAGENET | {"do_resize": True, "do_normalize": True})


def clipseg_folder(folder: Path, *, finds: bool = True) -> Path:
    """With `finds` off it answers nothing anywhere."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id, "pad_token_id": 0}
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config={**narrow, **text, "eos_token_id": tokenizer.eos_token_id, "projection_dim": 16},
        vision_config={**narrow, "image_size": 32, "patch_size": 8, "projection_dim": 16},
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        decoder_hidden_size=8,
    )
    model = CLIPSegForImageSegmentation(config)
    with torch.no_grad():
        for name, parameter in model.decoder.transposed_convolution.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(0.0 if finds else -50.0)
    tokenizer.save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "do_resize": True}
    return _folder(model, folder, processor | _IMAGENET | {"do_normalize": True})


def pose_folder(folder: Path, *, score: float = 1.0) -> Path:
    """Every joint is found somewhere, about as surely as `score`."""
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(64, 48), patch_size=(16, 16), hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=True))
    assert model.head.conv.bias is not None
    model.head.conv.bias.data.fill_(score)
    return _folder(model, folder, {"image_processor_type": "VitPoseImageProcessor"})


def detector_folder(folder: Path, *, finds: bool = True, labels: tuple[str, ...] = ("car", "person")) -> Path:
    """Each of its three guesses is the last label, or nothing at all."""
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=3,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = YolosForObjectDetection(config)
    last: Any = model.class_labels_classifier.layers[-1]
    last.bias.data[len(labels) - 1 if finds else len(labels)] = 50.0
    processor = {"image_processor_type": "YolosImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 96}}
    return _folder(model, folder, processor | _IMAGENET)


def save_everything(folder: Path) -> None:
    """Every operation's model, under the names that the engine looks for, in one model folder."""
    preprocessors = folder / "preprocessors"
    preprocessors.mkdir(parents=True, exist_ok=True)
    depth_folder(preprocessors / "depth")
    segmentation_folder(preprocessors / "segmentation", ("wall", "building", "sky", "tree"))
    pose_folder(preprocessors / "openpose")
    save_state(hed_state(), preprocessors / "ControlNetHED.pth")
    save_state(compact_state(), folder / "upscaler.safetensors")  # adds to the picture, so that one can see it
    save_state(saliency_state(), folder / "u2netp.pth")
    checker, processor = safety_checker(flags=True)
    checker.save_pretrained(folder / "safety")
    processor.save_pretrained(folder / "safety")
