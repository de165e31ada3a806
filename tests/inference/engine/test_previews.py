"""Previews: small, rare enough to cost next to nothing, like what comes of them, and never of what is to be checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.engine import events
from inference.engine.previews import PAUSE_S
from inference.engine.spec import Family, SafetySpec
from tests.inference.engine.bench import Bench, model, spec
from tests.support import tiny_models

SD15 = model("sd15")
KEY = "temp/4000000000-t-0.preview.jpg"
SHOWN = {"num_inference_steps": 6, "preview_key": KEY, "deadline_s": 1e9}


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(model_dir: Path, clock: Clock) -> Iterator[Bench]:
    bench = Bench(model_dir, clock=clock)
    yield bench
    bench.close()


def watch(bench: Bench, clock: Clock, told: list[dict[str, Any]], *, step_s: float, **fields: Any) -> Any:
    """A watched job; the clock goes on by `step_s` at its steps."""

    def listener(event: dict[str, Any]) -> None:
        clock.now_s += step_s if event["type"] == "step" else 0.0
        told.append(event)

    return bench.submit(spec(fields.pop("model", SD15), **(SHOWN | fields)), listener=listener)


def shown(told: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in told if event["type"] == "preview"]


def test_one_comes_at_every_step_of_a_slow_network_except_the_last(bench: Bench, clock: Clock) -> None:
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=PAUSE_S))
    assert shown(told) == [1, 2, 3, 4, 5]


def test_a_fast_network_shows_itself_as_often_as_anybody_looks(bench: Bench, clock: Clock) -> None:
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=PAUSE_S / 2))
    assert shown(told) == [1, 3, 5]


def test_they_take_no_more_of_the_device_than_their_share(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a second here, so with three per cent the next is due 33 s later: two steps of 20 s."""
    real = events.preview

    def slowly(*args: Any) -> Any:
        clock.now_s += 1.0
        return real(*args)

    monkeypatch.setattr(events, "preview", slowly)
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=20.0))
    assert shown(told) == [1, 3, 5]


def test_those_who_watch_take_turns(bench: Bench, clock: Clock) -> None:
    alice: list[dict[str, Any]] = []
    bob: list[dict[str, Any]] = []
    jobs = [watch(bench, clock, told, step_s=PAUSE_S / 2, account=name) for name, told in (("a", alice), ("b", bob))]
    bench.finish(*jobs)
    assert shown(alice) == [1, 3, 5]
    assert shown(bob) == [2, 4]


@pytest.mark.parametrize(
    "fields", [{"preview_key": ""}, {"safety": SafetySpec(enabled=True)}], ids=["unwatched", "to be checked"]
)
def test_none_of_what_nobody_watches_or_what_is_checked_first(
    bench: Bench, clock: Clock, fields: dict[str, Any]
) -> None:
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=1.0, **fields))
    assert len([event for event in told if event["type"] == "step"]) == 6
    assert shown(told) == []


def test_none_where_the_operator_wants_none(model_dir: Path, clock: Clock) -> None:
    bench = Bench(model_dir, clock=clock, preview_percent=0)
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=1.0))
    assert shown(told) == []
    bench.close()


def test_one_that_fails_costs_nothing(bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(events, "preview", fail)
    (output,) = bench.finish(watch(bench, clock, [], step_s=1.0))
    assert len(output.images) == 1


def test_they_are_small(bench: Bench, clock: Clock) -> None:
    told: list[dict[str, Any]] = []
    bench.finish(watch(bench, clock, told, step_s=1.0, width_px=512, height_px=256))
    assert {event["preview"].size for event in told if event["type"] == "preview"} == {(256, 128)}


@pytest.mark.parametrize(
    ("source", "scheduler"),
    [
        ("sd15", "DDIMScheduler"),
        ("sd15", "DPMSolverMultistepScheduler"),
        ("sd15", "UniPCMultistepScheduler"),
        ("flux", None),
    ],
)
def test_the_last_shows_nearly_what_comes(tmp_path: Path, clock: Clock, source: str, scheduler: str | None) -> None:
    """It is the scheduler's guess of the end: nearer to it than latents with the noise that is left."""
    tiny_models.save({"sd15": tiny_models.sd15, "flux": tiny_models.flux}[source](), tmp_path / source)
    bench = Bench(tmp_path, clock=clock)
    told: list[dict[str, Any]] = []
    fields = {"scheduler": scheduler, "num_inference_steps": 12, "width_px": 128, "height_px": 128}
    job = watch(bench, clock, told, step_s=1.0, model=model(source, Family(source)), **fields)
    (output,) = bench.finish(job)
    previews = [np.asarray(event["preview"], float) for event in told if event["type"] == "preview"]
    end = np.asarray(output.images[0].image, float)
    first, last = (np.abs(preview - end).mean() for preview in (previews[0], previews[-1]))
    assert last < first
    assert last < 12
    bench.close()
