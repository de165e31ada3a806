"""Colour maps of labelled areas for the segmentation ControlNets, by a model of the transformers library."""

from __future__ import annotations

import numpy as np
from PIL import Image

from inference.engine.control.shelf import Shelf
from inference.engine.segmenter import SemanticSegmenter

SEGMENTATION_FOLDER = "segmentation"
# The colour of each of the 150 labels of ADE20K, in label order, as the ControlNets were trained with them (the table
# of the ADE20K benchmark's tools), three bytes each. Two labels share a colour there too.
_ADE20K = bytes.fromhex(
    "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff8cccff04"
    "ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060aff47ff290a07ffff"
    "e0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f14ff001fff00ff1f00ffe000"
    "99ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff00"
    "0052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc2"
    "00ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ff"
    "ff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ff"
    "ff007afff5000abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
    "b8ff000085ffffd60019c2c266ff005c00ff"
)
PALETTE = np.frombuffer(_ADE20K, dtype=np.uint8).reshape(-1, 3)


def colour_map(image: Image.Image, shelf: Shelf) -> Image.Image:
    """Each pixel in the colour of its label. Labels beyond the table start again at its first colour."""
    what = "a semantic segmentation folder of the transformers library trained on ADE20K (UPerNet, SegFormer, BEiT)"
    model: SemanticSegmenter = shelf.load(SEGMENTATION_FOLDER, SemanticSegmenter, kind="segmentation", what=what)
    return Image.fromarray(PALETTE[model.classes(image) % len(PALETTE)])
