"""Only the render worker carries the render libraries; everything else must stay small and start at once."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft", "scipy", "cv2")
PROBE = """
import importlib, sys
import gateway.wsgi
for name in {modules!r}:
    importlib.import_module(name)
print(",".join(sorted(set({heavy!r}) & set(sys.modules))))
"""


def heavy_modules_after_importing(*modules, extra_path=None):
    environment = {**os.environ, **({"PYTHONPATH": str(extra_path)} if extra_path else {})}
    probe = PROBE.format(modules=modules, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(("gateway.urls",), id="web"),
        pytest.param(("gateway.celery", "gateway.tasks"), id="worker"),
        pytest.param(("gateway.management.commands.dispatcher",), id="dispatcher"),
    ],
)
def test_a_process_without_renders_imports_no_render_library(modules):
    assert heavy_modules_after_importing(*modules) == ""


def test_the_probe_sees_a_render_library_where_there_is_one(tmp_path):
    (tmp_path / "torch.py").write_text("")
    assert heavy_modules_after_importing("torch", extra_path=tmp_path) == "torch"
