"""The invariants of docs/ledger.md against the tests: each has its proof where the table says, and a control."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

NAMES = [f"L{number}" for number in range(1, 20)]
FILE = re.compile(r"`([\w/.]+(?:\.py|/))`")


def table(project_folder: Path) -> dict[str, list[str]]:
    """The places that the table names for each invariant."""
    found = {}
    for line in (project_folder / "docs/ledger.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0] in NAMES:
            places, folder = [], ""
            for place in FILE.findall(cells[2]):
                folder = place.rpartition("/")[0] if "/" in place else folder
                places.append(place if "/" in place else f"{folder}/{place}")
            found[cells[0]] = places
    return found


@functools.cache
def marks(project_folder: Path) -> list[tuple[str, str, str]]:
    """Marker, invariant and file of every test that carries one."""
    found = []
    for file in (project_folder / "tests").rglob("test_*.py"):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "pytest.mark." in text else ():
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("pytest.mark.proves", "pytest.mark.control"):
                marker = called.rpartition(".")[2]
                place = str(file.relative_to(project_folder))
                found += [(marker, ast.literal_eval(argument), place) for argument in node.args]
    return found


def marked(project_folder: Path, marker: str, name: str) -> set[str]:
    """The files with a test that carries the marker for this invariant."""
    return {file for found, invariant, file in marks(project_folder) if (found, invariant) == (marker, name)}


def test_every_invariant_is_in_the_table(project_folder: Path) -> None:
    assert sorted(table(project_folder)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_proven_where_the_table_says_and_has_a_negative_control(project_folder: Path, name: str) -> None:
    places, proofs = table(project_folder)[name], marked(project_folder, "proves", name)
    assert [place for place in places if not (project_folder / place).exists()] == []
    unmarked = [place for place in places if not any(file.startswith(place) for file in proofs)]
    assert unmarked == [], "named in the table, without a test that carries the marker"
    assert marked(project_folder, "control", name), "no negative control"


def test_the_report_runs_every_file_with_a_proof(project_folder: Path) -> None:
    """`make test-faults` prints the table of proofs: none may be left out of it."""
    makefile = (project_folder / "Makefile").read_text()
    recipe, listed = (makefile.partition(start)[2].partition("\n\n")[0] for start in ("\ntest-faults:", "\nPROOFS :="))
    assert "$(PROOFS)" in recipe
    ran = re.findall(r"tests/[\w/.]+", recipe + listed)
    files = {file for _, _, file in marks(project_folder)}
    assert sorted(file for file in files if not any(file.startswith(place) for place in ran)) == []
