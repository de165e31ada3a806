"""The virtual environment: made once, filled with the pinned requirements, left alone while they do not change.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.problems import Problem, exit_with_sentence
from tools.progress import Step

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
LOG = VENV / "install.log"
RUNTIME = ROOT / "requirements.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"
# Python's own is years older, and takes twice as long to choose among all versions that an index offers.
PIP = "pip==26.3"
# The processor build of torch with all else takes 1.9 GB installed, and pip unpacks beside it.
FREE_DISK_BYTES_MIN = 4 * 1024**3


def ensure(*, development: bool = False) -> Path:
    """The environment's Python, with the requirements installed. Quick when nothing changed."""
    wanted = "development" if development else "runtime"
    if _usable() and _stamps().get(wanted) == _fingerprint(wanted):
        return PYTHON
    _demand_disk()
    if not _usable():
        _create()
    _install([PIP], title="Bringing pip up to date")
    _install_torch()
    _install(["-r", str(DEVELOPMENT if development else RUNTIME)], title="Installing the pinned requirements")
    done = ["runtime", "development"] if development else ["runtime"]
    STAMP.write_text(json.dumps({**_stamps(), **{name: _fingerprint(name) for name in done}}))
    return PYTHON


def _usable() -> bool:
    """A checkout that was moved, or whose Python was upgraded away, has an environment that does not run."""
    if not PYTHON.exists():
        return False
    test = [str(PYTHON), "-c", "import sys, pip; sys.exit(sys.prefix == sys.base_prefix)"]
    return subprocess.run(test, capture_output=True, check=False).returncode == 0


def _stamps() -> dict[str, str]:
    try:
        stamps: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamps


def _fingerprint(wanted: str) -> str:
    files = [RUNTIME] if wanted == "runtime" else [RUNTIME, DEVELOPMENT]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _demand_disk() -> None:
    free_bytes = shutil.disk_usage(ROOT).free
    if free_bytes < FREE_DISK_BYTES_MIN:
        raise Problem(
            f"The disk of {ROOT} has {free_bytes / 1024**3:.1f} GB free; "
            f"the first start needs {FREE_DISK_BYTES_MIN / 1024**3:.0f} GB for the packages. Free some, then try again."
        )


def _create() -> None:
    with Step(f"Making the virtual environment {VENV.name} with Python {sys.version.split()[0]}"):
        made = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            return
        said = made.stdout + made.stderr
        if "ensurepip" in said:
            raise Problem(
                "This Python cannot make virtual environments: its venv module comes apart. "
                "On Debian and Ubuntu: apt-get install python3-venv. Then try again."
            )
        raise Problem(f"The virtual environment could not be made in {VENV}: {_last_line(said)}")


def _install_torch() -> None:
    """torch comes first and alone: the largest download by far, and its pin must decide which build is taken."""
    pin = next(line.split()[0] for line in RUNTIME.read_text().splitlines() if line.startswith("torch=="))
    _install([pin], title=f"Installing {pin} (the largest download)")


def _install(arguments: Sequence[str], *, title: str) -> None:
    with Step(title) as step:
        if _prefers_uv() and _told(_uv(arguments), step) == 0:
            return
        if _told(_pip(arguments), step) == 0:
            return
    raise Problem(_why_pip_failed(LOG.read_text(errors="replace")))


def _uv(arguments: Sequence[str]) -> list[str]:
    return ["uv", "pip", "install", "--python", str(PYTHON), *arguments]


def _pip(arguments: Sequence[str]) -> list[str]:
    # Python compiles what is imported when it is; most of the libraries' 20,000 files never are. uv leaves it likewise.
    options = ["--no-compile", "--disable-pip-version-check", "--progress-bar", "off"]
    return [str(PYTHON), "-m", "pip", "install", *options, *arguments]


def _prefers_uv() -> bool:
    """uv is many times faster, but reads none of pip's configuration: who configured an index for pip gets pip."""
    if not shutil.which("uv"):
        return False
    configured = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return "index-url" not in configured.stdout and "find-links" not in configured.stdout


def _told(command: list[str], step: Step) -> int:
    """Run it with every line in the log and the latest one in the progress line."""
    with (
        LOG.open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            log.write(line)
            step.tick(line.strip())
        return child.wait()


def _why_pip_failed(said: str) -> str:
    if "No space left on device" in said:
        return f"The disk of {ROOT} is full. Free some space, then try again."
    if re.search(r"unable to execute '(gcc|cc)'|command '(gcc|cc)' failed|No such file or directory: '(gcc|cc)'", said):
        return "A package had to be built and no C compiler was found. On Debian and Ubuntu: apt-get install gcc."
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    return f"The packages could not be installed: {errors[-1] if errors else _last_line(said)} (whole log: {LOG})"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason was given"


def main() -> int:
    parser = argparse.ArgumentParser(description="Make .venv and install the pinned requirements.")
    parser.add_argument("--dev", action="store_true", help="with the tools for tests, types and lint")
    ensure(development=parser.parse_args().dev)
    return 0


if __name__ == "__main__":
    sys.exit(exit_with_sentence(main))
