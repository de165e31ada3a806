"""The last 24 hours of a render worker, from its minutes: its states, its memory, and what its device told."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from gateway.templatetags.units import bytes_size, number
from inference.models import RenderWorker, WorkerMinute, WorkerState

SPAN, STEP = timedelta(hours=24), timedelta(minutes=15)
STEPS, STEP_MIN = SPAN // STEP, STEP // timedelta(minutes=1)
MINUTE = timedelta(minutes=1)
STATES = (WorkerState.BUSY, WorkerState.IDLE, WorkerState.DRAINING, WorkerState.STARTING)
# A row of WorkerMinute as values() gives it.
Minute = Any


def history(worker: RenderWorker, now: datetime) -> dict[str, Any]:
    """`states`: pairs of a word and minutes; `peaks`: pairs of a word and a text; `chart`: for components/chart.html.
    One query."""
    end = now.replace(second=0, microsecond=0)
    start = end - SPAN
    rows = WorkerMinute.objects.filter(worker=worker.name, minute__gte=start, minute__lt=end).order_by("minute")
    minutes = list(
        rows.values("minute", "state", "memory_used_bytes", "gpu_memory_used_bytes", "gpu_percent", "gpu_celsius")
    )
    return {
        "states": _states(minutes, start=max(start, _born(worker, end)), end=end),
        "peaks": _peaks(minutes),
        "chart": _chart(worker, minutes, start) if minutes else None,
    }


def _born(worker: RenderWorker, end: datetime) -> datetime:
    """Before its first message it was not silent but not there."""
    return min((worker.started_at or end).replace(second=0, microsecond=0), end)


def _states(minutes: list[Minute], *, start: datetime, end: datetime) -> list[tuple[str, int]]:
    counted = Counter(minute["state"] for minute in minutes if minute["state"] != WorkerState.LOST)
    silent = max((end - start) // MINUTE - counted.total(), 0)
    found = [(str(state.label), counted[state.value]) for state in STATES if counted[state.value]]
    return [*found, ("Silent", silent)] if minutes or silent else []


def _peaks(minutes: list[Minute]) -> list[tuple[str, str]]:
    measures = (
        ("Most memory of its models", "memory_used_bytes", bytes_size),
        ("Most memory of the device", "gpu_memory_used_bytes", bytes_size),
        ("Highest utilisation", "gpu_percent", lambda value: f"{value}\N{NO-BREAK SPACE}%"),
        ("Highest temperature", "gpu_celsius", lambda value: f"{number(value)}\N{NO-BREAK SPACE}°C"),
    )
    found = [(words, _most(minutes, name), text) for words, name, text in measures]
    return [(words, text(value) if value is not None else "not told") for words, value, text in found]


def _most(minutes: list[Minute], name: str) -> int | None:
    return max((minute[name] for minute in minutes if minute[name] is not None), default=None)


def _chart(worker: RenderWorker, minutes: list[Minute], start: datetime) -> dict[str, Any]:
    """Shares in percent, step by step. The utilisation is drawn where the device tells it."""
    steps: list[list[Minute]] = [[] for _ in range(STEPS)]
    for minute in minutes:
        steps[(minute["minute"] - start) // STEP].append(minute)
    budget_bytes = worker.report.get("memory_budget_bytes") or 0
    series: list[tuple[str, list[float | None], list[str]]] = [
        ("Busy", *_share(steps, (WorkerState.BUSY,))),
        ("Heard of", *_share(steps, tuple(WorkerState))),
        ("Memory of its budget", *_memory(steps, budget_bytes)),
    ]
    if _most(minutes, "gpu_percent") is not None:
        series.append(("Device at work", *_mean(steps, "gpu_percent")))
    times = [start + number * STEP for number in range(STEPS)]
    return {
        "id": "history",
        "title": f"The last 24 hours of {worker.name}",
        "unit": "percent",
        "zone": "UTC",
        "series": [{"label": label, "number": number} for number, (label, _, _) in enumerate(series, start=1)],
        "data": [[int(time.timestamp()) for time in times], *(values for _, values, _ in series)],
        "rows": [{"time": times[at], "texts": [texts[at] for _, _, texts in series]} for at in reversed(range(STEPS))],
    }


def _share(steps: list[list[Minute]], states: tuple[WorkerState, ...]) -> tuple[list[float | None], list[str]]:
    counts = [sum(minute["state"] in states for minute in step) for step in steps]
    texts = [f"{count} of {STEP_MIN}\N{NO-BREAK SPACE}min" for count in counts]
    return [round(100 * count / STEP_MIN, 1) for count in counts], texts


def _memory(steps: list[list[Minute]], budget_bytes: int) -> tuple[list[float | None], list[str]]:
    most = [_most(step, "memory_used_bytes") for step in steps]
    shares = [None if value is None or not budget_bytes else round(100 * value / budget_bytes, 1) for value in most]
    return shares, [bytes_size(value) for value in most]


def _mean(steps: list[list[Minute]], name: str) -> tuple[list[float | None], list[str]]:
    told = [[minute[name] for minute in step if minute[name] is not None] for step in steps]
    means = [round(sum(values) / len(values), 1) if values else None for values in told]
    return means, ["\N{EN DASH}" if mean is None else f"{mean:.0f}\N{NO-BREAK SPACE}%" for mean in means]
