"""Load by wrk (Debian's package of that name), bounded in time, and the CPU that a process tree spent meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
SCRIPT = Path(__file__).parent / "load.lua"


@dataclass(frozen=True, slots=True)
class Load:
    """One measured stretch. Latencies are milliseconds; `statuses` counts answers by HTTP status."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    cpu_ms_per_request: float


def wrk_missing() -> str | None:
    return None if shutil.which("wrk") else "wrk is not installed: Debian's package wrk brings it."


def run(
    url: str, bodies: Sequence[str], *, connections: int, seconds: int, tree: int | Sequence[int], work: Path
) -> Load:
    """POST `bodies` in turn for `seconds` over `connections`. `tree`: whose CPU counts, with all that they started."""
    body_file, out_file = work / "bodies.txt", work / "statuses.json"
    body_file.write_text("\n".join(bodies))
    trees = [tree] if isinstance(tree, int) else tree
    before = sum(map(cpu_seconds, trees))
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(SCRIPT),
        url,
    ]
    env = os.environ | {"BODIES": str(body_file), "STATUSES": str(out_file)}
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    spent = sum(map(cpu_seconds, trees)) - before
    statuses = json.loads(out_file.read_text())
    requests = sum(statuses.values())
    return Load(
        requests=requests,
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        p50_ms=_latency(output, "50%"),
        p99_ms=_latency(output, "99%"),
        statuses=statuses,
        cpu_ms_per_request=spent * 1000 / max(requests, 1),
    )


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all that descend from it, ended children included."""
    children: dict[int, list[int]] = {}
    times: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
        times[int(folder.name)] = sum(map(int, fields[11:15]))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        total += times.get(pid, 0)
        left.extend(children.get(pid, ()))
    return total / TICKS


def memory_mib(root: int, *, shared: bool = False) -> list[float]:
    """Resident memory of a process's children, in MiB: their proportional part of what they have in common, or with
    `shared` all of it in each.
    """
    pattern = r"Rss:\s+(\d+) kB" if shared else r"Pss:\s+(\d+) kB"
    sizes = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == root:
                sizes.append(int(_found(pattern, (folder / "smaps_rollup").read_text())) / 1024)
        except OSError:
            continue
    return sizes


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"wrk said something unexpected:\n{text}")
    return match[1]


def _latency(output: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", output)
    return float(match[1]) * _UNITS[match[2]] if match else float("nan")
