"""The engine against plain diffusers on the CPU, one thread, in one run: `python -m benchmarks.engine`.

Pictures per second with 1, 4 and 16 customers at once, against a plain pipeline one by one and against its best batch;
then what a first picture costs (a fresh process, another model, another LoRA). Ratios are of processor time, which
other work on the machine disturbs least; above 1 the engine does more in the same time.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks import report
from benchmarks.engine.rivals import Plain, Shared, Work, measured
from inference.engine.spec import AdapterRef
from tests.support import tiny_checkpoints, tiny_models

DEMO = Path(__file__).parents[2] / "inference" / "demo" / "model"
COLD = """
import sys, time
started = time.perf_counter()
from benchmarks.engine.rivals import Shared, Work
from pathlib import Path
shared = Shared(Work("cold", Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
shared.at_once(1)
print(time.perf_counter() - started)
shared.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--customers", type=int, nargs="*", default=[1, 4, 16])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        works = prepare(Path(folder))
        crowds = [row for work in works for row in crowded(work, options.customers, options.rounds)]
        print(report.table(crowds))
        firsts = first_pictures(works, Path(folder), options.rounds)
        print(report.table(firsts))
    print(
        "written:",
        report.write("engine", crowds, first_pictures=firsts, rounds=options.rounds, torch=torch.__version__),
    )


def prepare(folder: Path) -> list[Work]:
    """Tiny random models, and the demo model that the service ships, where it is installed."""
    pipe = tiny_models.sd15()
    tiny_models.save(pipe, folder / "tiny")
    for seed in range(8):
        save_file(tiny_checkpoints.kohya_lora_state(pipe, seed=seed), folder / f"style{seed}.safetensors")
    for seed in (1, 2):
        tiny_models.save(tiny_models.sd15(seed), folder / f"other{seed}")
    works = [Work("tiny 64 px", folder / "tiny", 64, 20), Work("tiny 128 px", folder / "tiny", 128, 20)]
    if (DEMO / "model_index.json").is_file():
        works.append(Work("demo 128 px", DEMO, 128, 20))
    return works


def crowded(work: Work, customers: list[int], rounds: int) -> list[dict[str, Any]]:
    plain, shared = Plain(work), Shared(work)
    shared.at_once(1)
    plain.one_by_one(1)
    rows = []
    for count in customers:
        runs = {"loop": plain.one_by_one, "batch": plain.one_batch, "engine": shared.at_once}
        costs = measured({name: functools.partial(run, count) for name, run in runs.items()}, rounds)
        rows.append(
            {
                "model": work.name,
                "customers": count,
                "loop img/s": count / costs["loop"].wall_s,
                "batch img/s": count / costs["batch"].wall_s,
                "engine img/s": count / costs["engine"].wall_s,
                "of loop": costs["loop"].cpu_s / costs["engine"].cpu_s,
                "of best batch": costs["batch"].cpu_s / costs["engine"].cpu_s,
            }
        )
    shared.close()
    return rows


def first_pictures(works: list[Work], folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds more than the same picture takes when everything is in memory."""
    tiny = works[0]
    shared = Shared(tiny)
    shared.at_once(1)
    warm_ms = least(shared, [tiny.spec(0)] * rounds)
    others = [dataclasses.replace(tiny, name=f"other{seed}", folder=folder / f"other{seed}") for seed in (1, 2)]
    switched = [one_ms(shared, work.spec(0)) for work in others]
    loras = [
        dataclasses.replace(
            tiny.spec(0), loras=(AdapterRef(adapter_id=f"{n}", source=str(folder / f"style{n}.safetensors")),)
        )
        for n in range(8)
    ]
    fresh = [one_ms(shared, spec) for spec in loras]
    again = least(shared, loras)
    shared.close()
    rows: list[dict[str, Any]] = [
        {"first picture": "in memory", "ms": warm_ms, "more ms": 0.0},
        {"first picture": "another model, from disk", "ms": min(switched), "more ms": min(switched) - warm_ms},
        {"first picture": "a new LoRA", "ms": statistics.median(fresh), "more ms": statistics.median(fresh) - warm_ms},
        {"first picture": "another LoRA that was used before", "ms": again, "more ms": again - warm_ms},
    ]
    for work in works[1:]:
        cold_ms = min(cold_start_ms(work) for _ in range(3))
        rows.append({"first picture": f"fresh process, {work.name}", "ms": cold_ms, "more ms": cold_ms - warm_ms})
    return rows


def least(shared: Shared, specs: list[Any]) -> float:
    return min(one_ms(shared, spec) for spec in specs)


def one_ms(shared: Shared, spec: Any) -> float:
    started = time.perf_counter()
    shared.engine.submit(spec).result(600)
    return (time.perf_counter() - started) * 1000


def cold_start_ms(work: Work) -> float:
    """From starting Python to the first picture, imports included."""
    command = [sys.executable, "-W", "ignore", "-c", COLD, str(work.folder), str(work.side_px), str(work.steps)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return float(told.stdout.split()[-1]) * 1000


if __name__ == "__main__":
    main()
