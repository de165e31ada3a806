"""People as stick figures in OpenPose's drawing, by ViTPose of the transformers library.

ViTPose looks at one person at a time: an optional detector folder finds the people, without it the whole picture is
taken for one person. Hands and faces are not drawn.
"""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engine.control.shelf import Shelf
from inference.engine.errors import RenderFailed
from inference.engine.picture_input import PictureInput
from inference.engine.segmenter import load_pretrained

POSE_FOLDER = "openpose"
DETECTOR_FOLDER = "person_detector"
PEOPLE_MAX = 16
PERSON_SCORE_MIN, JOINT_SCORE_MIN = 0.5, 0.3
# A box is widened to the network's shape and by this much, as ViTPose was trained.
BOX_PADDING = 1.25
_MEAN, _SPREAD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))

# OpenPose's 18 points in COCO's numbering of 17; the neck (-1) is the middle of the shoulders.
_OPENPOSE_FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_SHOULDERS = (5, 6)
# Pairs of OpenPose points that are joined; limb k has colour k of 18 hues.
_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
HUES = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(place / 18, 1, 1)) for place in range(18)]

Joints: TypeAlias = NDArray[np.float32]  # rows of x, y, score


class PoseModel:
    def __init__(self, folder: Path, device: str) -> None:
        from transformers import VitPoseForPoseEstimation

        self._model: Any = load_pretrained(VitPoseForPoseEstimation, folder, device)
        self._device = device
        backbone = self._model.config.backbone_config
        height, width = backbone.image_size
        self._size = (int(width), int(height))
        # ViTPose+ has experts per data set; number 0 is COCO.
        experts = getattr(backbone, "num_experts", 1) > 1
        self._expert = {"dataset_index": torch.zeros(1, dtype=torch.long, device=device)} if experts else {}

    @torch.inference_mode()
    def joints(self, image: Image.Image, box: tuple[float, float, float, float]) -> Joints:
        """COCO's 17 points of the person in the box (left, top, width, height), in pixels of the picture."""
        to_network = self._window(box)
        window = cv2.warpAffine(np.asarray(image), to_network, self._size, flags=cv2.INTER_LINEAR)
        batch = torch.from_numpy((window / 255 - _MEAN) / _SPREAD).float().permute(2, 0, 1)[None].to(self._device)
        heat = self._model(pixel_values=batch, **self._expert).heatmaps[0].float().cpu().numpy()
        points = np.stack([_peak(part) for part in heat])
        scale = np.array((self._size[0] / heat.shape[2], self._size[1] / heat.shape[1]), dtype=np.float32)
        back = cv2.invertAffineTransform(to_network)
        points[:, :2] = (points[:, :2] * scale) @ back[:, :2].T + back[:, 2]
        return points

    def _window(self, box: tuple[float, float, float, float]) -> NDArray[np.float32]:
        left, top, width, height = box
        aspect = self._size[0] / self._size[1]
        wide = max(width, height * aspect) * BOX_PADDING
        scale = self._size[0] / wide
        x_shift = self._size[0] / 2 - scale * (left + width / 2)
        y_shift = self._size[1] / 2 - scale * (top + height / 2)
        return np.array(((scale, 0, x_shift), (0, scale, y_shift)), dtype=np.float32)


class PersonDetector:
    """A detector folder of the transformers library (RT-DETR, DETR, YOLOS) that knows the label "person"."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoModelForObjectDetection

        self._model: Any = load_pretrained(AutoModelForObjectDetection, folder, device)
        self._input, self._device = PictureInput.read(folder), device
        names: dict[int, str] = self._model.config.id2label
        self._person = [number for number, name in names.items() if name.lower() == "person"]
        if not self._person:
            message = f"The detector in {folder.name} has no label person."
            raise RenderFailed(code="model_unreadable", message=message)

    @torch.inference_mode()
    def boxes(self, image: Image.Image) -> list[tuple[float, float, float, float]]:
        """Left, top, width, height of each person, the surest first."""
        outputs = self._model(pixel_values=self._input.tensor(image, self._device))
        scores = self._chances(outputs.logits[0].float())[:, self._person].max(dim=1).values
        order = scores.argsort(descending=True)[:PEOPLE_MAX]
        surest = order[scores[order] >= PERSON_SCORE_MIN]
        found: list[tuple[float, float, float, float]] = []
        for x, y, width, height in outputs.pred_boxes[0][surest].float().tolist():  # middle and size, in shares
            left, top = (x - width / 2) * image.width, (y - height / 2) * image.height
            found.append((left, top, width * image.width, height * image.height))
        return found

    def _chances(self, logits: torch.Tensor) -> torch.Tensor:
        """DETR and YOLOS have one class more, for nothing at all; RT-DETR and its kin judge each class by itself."""
        labels = len(self._model.config.id2label)
        return logits.softmax(dim=1)[:, :labels] if logits.shape[1] > labels else logits.sigmoid()


def skeletons(image: Image.Image, shelf: Shelf) -> Image.Image:
    """Coloured stick figures on black. A picture without a recognisable person is refused."""
    what = "a ViTPose folder of the transformers library (vitpose-base-simple and its kin)"
    model: PoseModel = shelf.load(POSE_FOLDER, PoseModel, kind="openpose", what=what)
    people = [model.joints(image, box) for box in _people(image, shelf)]
    visible = [person for person in people if (person[:, 2] >= JOINT_SCORE_MIN).any()]
    if not visible:
        raise RenderFailed(code="no_person", message="controlnet_model openpose: no person was found in the picture.")
    return draw([openpose_points(person) for person in visible], image.size)


def openpose_points(coco: Joints) -> Joints:
    """The 18 points in OpenPose's order; the neck is as sure as the less sure shoulder."""
    shoulders = coco[list(_SHOULDERS)]
    neck: NDArray[np.float32] = np.append(shoulders[:, :2].mean(axis=0), shoulders[:, 2].min())
    return np.vstack((coco, neck))[list(_OPENPOSE_FROM_COCO)].astype(np.float32)


def draw(people: list[Joints], size: tuple[int, int]) -> Image.Image:
    """Limbs at 60 % of their hue with full points on top, as the ControlNets were trained."""
    canvas: NDArray[np.uint8] = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    thickness = max(round(4 * min(size) / 512), 1)
    for person in people:
        for hue, (start, end) in zip(HUES, _LIMBS, strict=False):
            if min(person[start, 2], person[end, 2]) >= JOINT_SCORE_MIN:
                _limb(canvas, person[start, :2], person[end, :2], thickness, tuple(int(0.6 * part) for part in hue))
    for person in people:
        for hue, (x, y, score) in zip(HUES, person.tolist(), strict=True):
            if score >= JOINT_SCORE_MIN:
                cv2.circle(canvas, (round(x), round(y)), thickness, hue, -1, cv2.LINE_AA)
    return Image.fromarray(canvas)


def _limb(
    canvas: NDArray[np.uint8],
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    thickness: int,
    colour: tuple[int, ...],
) -> None:
    middle, way = (start + end) / 2, end - start
    axes = (max(round(float(np.hypot(*way)) / 2), 1), thickness)
    angle = float(np.degrees(np.arctan2(way[1], way[0])))
    centre = (round(float(middle[0])), round(float(middle[1])))
    outline = np.array(cv2.ellipse2Poly(centre, axes, round(angle), 0, 360, 1), dtype=np.int32)
    cv2.fillConvexPoly(canvas, outline, colour)


def _people(image: Image.Image, shelf: Shelf) -> list[tuple[float, float, float, float]]:
    if shelf.find(DETECTOR_FOLDER) is None:
        return [(0.0, 0.0, float(image.width), float(image.height))]
    detector: PersonDetector = shelf.load(DETECTOR_FOLDER, PersonDetector, kind="openpose", what="a person detector")
    return detector.boxes(image)


def _peak(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """x, y, score of the maximum, moved a quarter of a cell towards the higher neighbour."""
    y, x = divmod(int(heat.argmax()), heat.shape[1])
    point = np.array((x, y, heat[y, x]), dtype=np.float32)
    if 0 < x < heat.shape[1] - 1:
        point[0] += 0.25 * np.sign(heat[y, x + 1] - heat[y, x - 1])
    if 0 < y < heat.shape[0] - 1:
        point[1] += 0.25 * np.sign(heat[y + 1, x] - heat[y - 1, x])
    return point
