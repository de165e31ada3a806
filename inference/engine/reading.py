"""Reading the words of jobs that start together: one pass of the text encoders instead of one for each."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence

from inference.engine.work import Work

# As many as one pass gains from; more only hold up the first picture.
READ_MAX = 32


def together(works: Sequence[Work]) -> list[list[Work]]:
    """The jobs whose words one pass can read."""
    groups: dict[Hashable, list[list[Work]]] = {}
    for work in works:
        if work.drawing is None:
            continue
        key = work.spec.token if work.drawing.reads_alone else work.drawing.ref
        places = groups.setdefault(key, [[]])
        if len(places[-1]) >= READ_MAX:
            places.append([])
        places[-1].append(work)
    return [group for places in groups.values() for group in places]


def read(works: Sequence[Work]) -> None:
    """The words of one group."""
    drawings = [work.drawing for work in works if work.drawing]
    first = drawings[0]
    with first.text_adapted() if first.reads_alone else contextlib.nullcontext():
        conditions = first.family.encode(first.model, [drawing.text() for drawing in drawings])
    for drawing, told in zip(drawings, conditions, strict=True):
        drawing.understand(told)
