"""The architecture as a test: who may import whom, and that each rule would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("gateway", "billing", "inference", "accounts")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, timeout=110
    )


@pytest.fixture
def copy_of_the_house(project_folder, tmp_path):
    for package in PACKAGES:
        shutil.copytree(
            project_folder / package,
            tmp_path / package,
            ignore=lambda folder, names: [
                name for name in names if not (Path(folder, name).is_dir() or name.endswith(".py"))
            ],
        )
    shutil.copy(project_folder / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_respects_the_house(project_folder):
    done = lint_imports(project_folder)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("accounts/services.py", "import gateway.errors", "The gateway knows everyone"),
        ("inference/errors.py", "import billing.money", "money and images never meet"),
        ("billing/models.py", "import billing.services", "Inside an app"),
        ("billing/services.py", "import stripe", "Only billing.stripe_client"),
        ("gateway/services/place.py", "import torch", "Only the render engine"),
    ],
)
def test_a_forbidden_import_is_reported(copy_of_the_house, module, statement, contract):
    with (copy_of_the_house / module).open("a") as file:
        file.write(f"\n{statement}\n")
    done = lint_imports(copy_of_the_house)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if contract in line and "BROKEN" in line]
    assert broken, done.stdout
