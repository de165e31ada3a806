"""One step for pictures that share the network: the forward, each one's own scheduler, and at the end the decoder.

What fails is narrowed down here: a row that is no number costs its own job, memory that runs out halves the forward.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable

import torch

from inference.engine import operations
from inference.engine.capacity import Capacity
from inference.engine.errors import RenderFailed, is_out_of_memory
from inference.engine.families.base import Sample
from inference.engine.pool import free_memory
from inference.engine.previews import Previews
from inference.engine.relief import Relief
from inference.engine.settings import EngineSettings
from inference.engine.tally import Tally
from inference.engine.work import Row, failure_of

logger = logging.getLogger(__name__)
# So many pictures share the decoder, within the memory of one of 1024 x 1024 px. Measured on a CPU: four take up to two
# fifths less than one by one, sixteen of the demo model a half more.
DECODED_MAX, DECODED_LATENTS = 4, 128 * 128


class Stepper:
    def __init__(self, settings: EngineSettings, tally: Tally, relief: Relief) -> None:
        self.settings, self.tally, self.relief = settings, tally, relief
        self.capacity = Capacity(settings.max_rows)
        self.previews = Previews(settings.preview_percent, tally.clock)

    def step(self, rows: list[Row]) -> None:
        """One shared forward of rows of one bucket; pictures that it completes are decoded and delivered."""
        predicted = self._predict(rows)
        if not predicted:
            return
        whole = torch.cat([prediction for _, prediction in predicted]).isfinite().flatten(1).all(dim=1).tolist()
        sound: list[tuple[Row, torch.Tensor]] = []
        for (row, prediction), finite in zip(predicted, whole, strict=True):
            with self.tally.blame([row.work]):
                if not finite:
                    raise RenderFailed(code="not_a_number", message="The model produced values that are no numbers.")
                sound.append((row, prediction))
        ready: list[Row] = []
        for row in [row for pairs in _at_one_pace(sound) for row in self._advance(pairs)]:
            with self.tally.blame([row.work]):
                if self._is_ready(row):
                    ready.append(row)
        self.previews.draw(rows)
        for together in _decoded_together([row for row in ready if row in row.work.rows]):
            for row, pixels in self._decode(together):
                with self.tally.blame([row.work]):
                    self.deliver(row, pixels)

    def _predict(self, rows: list[Row], *, last: bool = False) -> list[tuple[Row, torch.Tensor]]:
        """One forward for all. If it fails: with less when memory ran out, else each alone to find the guilty."""
        drawing, samples = rows[0].work.drawing, [row.sample for row in rows if row.sample]
        assert drawing is not None
        bucket, weight = rows[0].bucket, sum(row.weight for row in rows)
        allowed = self.capacity.of(bucket)
        try:
            predictions = drawing.predict(samples, allowed)
        except Exception as error:
            failure = failure_of(error)
            logger.warning("A step of %s failed.", rows[0].work.spec.token, exc_info=error)
        else:
            self.tally.forward(rows[0].work.spec.model.model_id, weight)
            self.capacity.held(bucket, weight)
            return list(zip(rows, predictions, strict=True))
        if is_out_of_memory(failure):
            self.tally.counts["oom"] += 1
            self.capacity.ran_out(bucket, min(weight, allowed))
            return self._predict_with_less(rows, min(weight, allowed), failure, last=last)
        if len(rows) == 1:
            rows[0].work.fail(failure)
            return []
        return [pair for row in rows for pair in self._predict([row])]

    def _predict_with_less(
        self, rows: list[Row], tried: int, failure: RenderFailed, *, last: bool
    ) -> list[tuple[Row, torch.Tensor]]:
        """Half the pictures; one alone with half the rows at a time; at last one row, with nothing idle in memory."""
        if len(rows) > 1 or tried > 1:
            free_memory()
            return self._predict(rows[: max(len(rows) // 2, 1)])
        if not last:
            self.relief.make_room()
            return self._predict(rows, last=True)
        rows[0].work.fail(failure)
        return []

    def _advance(self, pairs: list[tuple[Row, torch.Tensor]]) -> list[Row]:
        """The schedulers' step, of several at once where they keep one pace; if that fails, each alone."""
        drawing = pairs[0][0].work.drawing
        assert drawing is not None
        samples = [row.sample for row, _ in pairs if row.sample]
        try:
            drawing.family.advance(samples, [prediction for _, prediction in pairs])
            return [row for row, _ in pairs]
        except Exception as error:
            if len(pairs) == 1:
                pairs[0][0].work.fail(failure_of(error))
                logger.warning("A scheduler of %s failed.", pairs[0][0].work.spec.token, exc_info=error)
                return []
        return [row for pair in pairs for row in self._advance([pair])]

    def _is_ready(self, row: Row) -> bool:
        """Tell the step. Whether the picture can be decoded: it may also go on as another sample."""
        work, sample = row.work, row.sample
        assert sample is not None
        assert work.drawing is not None
        step, steps = sample.progress
        work.tell("step", row.index, step, steps)
        if sample.done and sample.then:
            row.sample = sample.then(sample)
            row.bucket = work.drawing.bucket(row.sample)
            row.cost = cost_of(row.sample)
            return False
        return sample.done

    def _decode(self, rows: list[Row]) -> list[tuple[Row, torch.Tensor]]:
        """Together; if that fails each alone; if memory runs out for one, that one in tiles."""
        drawing, samples = rows[0].work.drawing, [row.sample for row in rows if row.sample]
        assert drawing is not None
        tiled = False
        try:
            return list(zip(rows, drawing.decode(samples), strict=True))
        except Exception as error:
            tiled = is_out_of_memory(error)
            self.tally.counts["oom"] += tiled
            if len(rows) == 1 and not tiled:
                rows[0].work.fail(failure_of(error))
                logger.warning("Decoding %s failed.", rows[0].work.spec.token, exc_info=error)
                return []
        free_memory()
        if len(rows) > 1:
            return [pair for row in rows for pair in self._decode([row])]
        pairs: list[tuple[Row, torch.Tensor]] = []
        with self.tally.blame([rows[0].work]):
            pairs = [(rows[0], drawing.decode(samples, tiled=True)[0])]
        return pairs

    def deliver(self, row: Row, pixels: torch.Tensor) -> None:
        assert row.work.drawing is not None
        image = row.work.drawing.picture(pixels)
        self.relief.second_try(lambda: operations.finish(row, image, self.settings))
        self.tally.counts["images_done"] += 1


def _at_one_pace(pairs: list[tuple[Row, torch.Tensor]]) -> list[list[tuple[Row, torch.Tensor]]]:
    """Rows and predictions, those together whose schedulers' next step is the same."""
    groups: dict[Hashable, list[tuple[Row, torch.Tensor]]] = {}
    for row, prediction in pairs:
        assert row.sample is not None
        pace = row.sample.pace
        key = id(row) if pace is None else (pace, row.sample.step)
        groups.setdefault(key, []).append((row, prediction))
    return list(groups.values())


def _decoded_together(rows: list[Row]) -> list[list[Row]]:
    """Pictures of one shape and decoder that are ready at the same step, a few at a time."""
    groups: dict[tuple[int, tuple[int, ...]], list[list[Row]]] = {}
    for row in rows:
        assert row.sample is not None
        shape = tuple(row.sample.latents.shape)
        places = groups.setdefault((id(row.sample.vae), shape), [[]])
        most = max(min(DECODED_MAX, DECODED_LATENTS // (shape[-1] * shape[-2])), 1)
        if len(places[-1]) >= most or (row.sample.alone is not None and places[-1]):
            places.append([])
        places[-1].append(row)
    return [group for places in groups.values() for group in places]


def cost_of(sample: Sample) -> float:
    """Megapixels of one step; a picture with guidance (two rows) counts once."""
    window = sample.views[0]
    return window.height * window.width * 64 * sample.rows / 2e6
