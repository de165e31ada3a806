"""Every sample on the documentation's first page is taken from the page as a reader copies it, and run."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service

# Language -> the program that runs it, and the file it runs.
RUNNERS = {
    "curl": (["bash"], "call.sh"),
    "python": (["python3"], "call.py"),
    "javascript": (["node"], "call.mjs"),
    "node": (["node"], "call.mjs"),
    "php": (["php"], "call.php"),
    "java": (["java"], "FirstPicture.java"),
}


def samples_on(service: Service, path: str) -> dict[str, str]:
    with urllib.request.urlopen(service.url + path, timeout=10) as answer:
        page = answer.read().decode()
    found = re.findall(r'data-language="(\w+)"[^>]*><code>(.*?)</code>', page, re.DOTALL)
    return {language: html.unescape(text) for language, text in found}


# All of them on the first page; one on a model's page, whose samples differ by the body alone: the free plan allows ten
# calls a minute.
@pytest.mark.parametrize(
    ("path", "language"), [*(("/docs", name) for name in RUNNERS), ("/models/local/demo", "python")]
)
def test_the_sample_makes_a_picture(
    service: Service, customer: dict[str, Any], tmp_path: Path, language: str, path: str
) -> None:
    program, name = RUNNERS[language]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    sample = samples_on(service, path)[language].replace("$API_KEY", customer["key"])
    (tmp_path / name).write_text(sample)
    done = subprocess.run([*program, name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "picture.png" in done.stdout if language == "node" else "success" in done.stdout
    if language == "node":
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
