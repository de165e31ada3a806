"""The engine against plain diffusers, in one run: `python -m benchmarks.engine` on the CPU with one thread.

Pictures per second with 1, 4 and 16 customers at once, against a plain pipeline one by one and against its best batch;
then what a first picture costs (a fresh process, another model, another LoRA). Ratios are of processor time, which
other work on the machine disturbs least (on a GPU of the wall's); above 1 the engine does more in the same time.

    python -m benchmarks.engine --layout sd15 --device cuda       512 x 512 px, full size, random weights
    python -m benchmarks.engine --layout sdxl --device cuda       1024 x 1024 px
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks import report
from benchmarks.engine import layouts
from benchmarks.engine.rivals import Plain, Shared, Work, measured
from inference.demo import DEFAULTS, MODEL_DIR
from inference.engine.spec import AdapterRef, Family
from tests.support import tiny_checkpoints, tiny_models

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
    options = arguments()
    warnings.simplefilter("ignore")
    if options.device == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        works = [laid_out(options, Path(folder))] if options.layout else prepare(Path(folder))
        crowds = [row for work in works for row in crowded(work, options.customers, options.rounds)]
        print(report.table(crowds))
        found = bars(crowds)
        print(report.bars(found))
        facts: dict[str, Any] = {"rounds": options.rounds, "torch": torch.__version__, "device": device(options.device)}
        if not options.layout:
            facts["first_pictures"] = first_pictures(works, Path(folder), options.rounds)
            print(report.table(facts["first_pictures"]))
    name = f"engine-{options.layout}-{options.device.partition(':')[0]}" if options.layout else "engine"
    print("written:", report.write(name, crowds, found, **facts))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--customers", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--layout", choices=list(layouts.PIPELINES), help="one full-size network with random weights")
    parser.add_argument("--device", default="cpu", help="with --layout: cpu, cuda or cuda:1")
    parser.add_argument("--dtype", help="with --layout: float32, float16 or bfloat16 (default on CUDA)")
    parser.add_argument("--side", type=int, help="with --layout: pixels a side (default: what the layout draws)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--reduced", type=int, default=1, help="with --layout: divide all widths by this, up to 8")
    return parser.parse_args()


def device(name: str) -> str:
    return torch.cuda.get_device_name(name) if name.startswith("cuda") else platform.processor() or name


def laid_out(options: argparse.Namespace, folder: Path) -> Work:
    dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    chosen = {"device": options.device, "dtype": getattr(torch, dtype), "reduced": options.reduced}
    layouts.save(options.layout, folder / options.layout, **chosen)
    side_px = options.side or layouts.SIDES_PX[options.layout]
    return Work(
        f"{options.layout} {side_px} px",
        folder / options.layout,
        side_px,
        options.steps,
        family=Family(options.layout),
        device=options.device,
        dtype=dtype,
    )


def prepare(folder: Path) -> list[Work]:
    """Tiny random models, and the demo model that the service ships."""
    pipe = tiny_models.sd15()
    tiny_models.save(pipe, folder / "tiny")
    for seed in range(8):
        save_file(tiny_checkpoints.kohya_lora_state(pipe, seed=seed), folder / f"style{seed}.safetensors")
    for seed in (1, 2):
        tiny_models.save(tiny_models.sd15(seed), folder / f"other{seed}")
    tiny = [Work(f"tiny {side_px} px", folder / "tiny", side_px, 20) for side_px in (64, 128)]
    return [*tiny, Work("demo 256 px", MODEL_DIR, 256, 20, guidance=float(DEFAULTS["guidance_scale"]))]


def crowded(work: Work, customers: list[int], rounds: int) -> list[dict[str, Any]]:
    plain, shared = Plain(work), Shared(work)
    shared.at_once(1)
    plain.one_by_one(1)
    rows = []
    for count in customers:
        runs: dict[str, Callable[[], None]] = {
            "loop": functools.partial(plain.one_by_one, count),
            "batch": functools.partial(plain.one_batch, count),
            "engine": functools.partial(shared.at_once, count),
            "watched": functools.partial(shared.at_once, count, watched=True),
        }
        costs = measured(runs, rounds)
        cost = {name: one.on(work.device) for name, one in costs.items()}
        rows.append(
            {
                "model": work.name,
                "customers": count,
                "loop img/s": count / costs["loop"].wall_s,
                "batch img/s": count / costs["batch"].wall_s,
                "engine img/s": count / costs["engine"].wall_s,
                "of loop": cost["loop"] / cost["engine"],
                "of best batch": cost["batch"] / cost["engine"],
                "with previews": cost["engine"] / cost["watched"],
            }
        )
    shared.close()
    return rows


def bars(rows: list[dict[str, Any]]) -> list[report.Bar]:
    """A lone customer waits no longer than with plain diffusers; a crowd is served as by the best batch."""
    most = max(row["customers"] for row in rows)
    found = []
    for row in rows:
        if row["customers"] == 1:
            found.append(report.at_least(f"{row['model']}, a lone customer, of plain diffusers", row["of loop"], 0.95))
        elif row["customers"] == most:
            found.append(
                report.at_least(f"{row['model']}, {most} customers, of the best batch", row["of best batch"], 0.95)
            )
            found.append(
                report.at_least(f"{row['model']}, {most} watched customers, of unwatched", row["with previews"], 0.95)
            )
    return found


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
