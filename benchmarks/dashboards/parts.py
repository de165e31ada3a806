"""The parts of the benchmark, in their order. A part is a module of this package with a PART; all are listed here."""

from __future__ import annotations

from benchmarks.dashboards.catalogue import PART as CATALOGUE
from benchmarks.dashboards.console import PART as CONSOLE
from benchmarks.dashboards.part import Part
from benchmarks.dashboards.revenue import PART as REVENUE
from benchmarks.dashboards.usage import PART as USAGE

PARTS: tuple[Part, ...] = (USAGE, CATALOGUE, CONSOLE, REVENUE)
