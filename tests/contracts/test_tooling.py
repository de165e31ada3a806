"""What the project promises about itself: pins, settings, migrations, commands, sizes."""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest
from django.core.management import call_command

from inference.engine.settings import EngineSettings
from tools.settings_table import with_table
from tools.supervisor import read_procfile

SOURCES = ("accounts", "billing", "gateway", "inference", "tools", "gunicorn.conf.py", "manage.py")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# Names that the settings put together.
COMPOSED = {f"{provider}_{part}" for provider in ("GITHUB", "GOOGLE") for part in ("CLIENT_ID", "SECRET")}
# Read by the tools or by libraries, but not settings of the service.
NOT_SETTINGS = {"DJANGO_SETTINGS_MODULE", "PATH", "HOME", "PYTHONUNBUFFERED", "HF_HOME", "HF_HUB_OFFLINE"}


def python_files(project_folder, *roots):
    for root in roots:
        path = project_folder / root
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        yield from (file for file in files if "migrations" not in file.parts)


def names_read(tree):
    """The literal names in env.kind("NAME"), environ["NAME"], environ.get("NAME"), getenv("NAME")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield from literal(node.slice) if isinstance(node.ctx, ast.Load) else ()
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            reads = called.startswith("env.") or called in ("os.environ.get", "environ.get", "os.getenv")
            yield from literal(node.args[0]) if reads else ()


def literal(node):
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def settings_read_by_code(project_folder):
    names = set()
    for file in python_files(project_folder, *SOURCES):
        names.update(name for name in names_read(ast.parse(file.read_text())) if name.isupper())
    render = {f"RENDER_{field.name.upper()}" for field in dataclasses.fields(EngineSettings)}
    return (names | render | COMPOSED) - {"RENDER_MODEL_DIR"} - NOT_SETTINGS


def settings_explained(project_folder):
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (project_folder / ".env.example").read_text(), re.MULTILINE))


def test_every_setting_that_is_read_is_explained(project_folder):
    assert settings_read_by_code(project_folder) - settings_explained(project_folder) == set()


def test_every_setting_that_is_explained_is_read(project_folder):
    assert settings_explained(project_folder) - settings_read_by_code(project_folder) == set()


def test_the_readme_shows_the_same_settings(project_folder):
    readme, example = (project_folder / name for name in ("README.md", ".env.example"))
    assert "| `DATABASE_URL` |" in readme.read_text()
    assert readme.read_text() == with_table(readme.read_text(), example.read_text()), "python3 -m tools.settings_table"


def test_the_example_gives_every_default_as_it_is(project_folder, tmp_path):
    """Uncommenting all of the example changes nothing: the values that it shows are those that hold."""
    example = (project_folder / ".env.example").read_text()
    shown = {name: value for name, value in re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.+)$", example, re.MULTILINE)}
    bare = {name: value for name, value in os.environ.items() if name not in settings_explained(project_folder)}
    bare["RUN_DIR"] = str(tmp_path)
    assert settings_under(bare | shown, project_folder) == settings_under(bare, project_folder)


def settings_under(environment, project_folder):
    probe = (
        "import json; from gateway import settings; from inference.engine.settings import EngineSettings;"
        "values = {name: repr(getattr(settings, name)) for name in dir(settings) if name.isupper()};"
        "print(json.dumps(values | {'engine': repr(EngineSettings.from_environ())}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=project_folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(re.sub(r" at 0x[0-9a-f]+", "", done.stdout))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_exactly(project_folder, name):
    lines = [line.split("#")[0].strip() for line in (project_folder / name).read_text().splitlines()]
    loose = [line for line in lines if line and not re.fullmatch(r"(-r \S+|[\w.-]+(\[[\w,-]+\])?==[\w.]+)", line)]
    assert loose == []


@pytest.mark.django_db
def test_the_models_and_their_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_bare_make_lists_every_command(project_folder):
    makefile = (project_folder / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"python"}
    listed = subprocess.run(["make"], cwd=project_folder, capture_output=True, text=True, timeout=20).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE)) == targets


def test_the_render_worker_is_started_without_the_database(project_folder):
    render = read_procfile(project_folder / "Procfile")["render"]
    assert render.startswith("env ")
    secrets = {name for name in settings_explained(project_folder) if re.search(r"SECRET|PEPPER|API_KEY$", name)}
    kept = {name for name in secrets | {"DATABASE_URL", "EMAIL_URL"} if f"-u {name} " not in render}
    assert kept == set()


def test_files_and_functions_stay_readable(project_folder):
    long = []
    for file in python_files(project_folder, *SOURCES, "tests", "benchmarks"):
        text = file.read_text()
        place = str(file.relative_to(project_folder))
        if text.count("\n") > FILE_LINES_MAX:
            long.append(f"{place} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    long.append(f"{place}:{node.lineno} {node.name} has {length} lines")
    assert long == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_link_between_our_documents_leads_somewhere(project_folder, name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (project_folder / name).read_text())
    assert [link for link in links if not (project_folder / link).exists()] == []


def documents(project_folder):
    for pattern in ("*.md", "docs/**/*.md", "inference/**/*.md"):
        yield from project_folder.glob(pattern)


def test_files_that_the_documents_name_exist(project_folder):
    folders = {path.name for path in project_folder.iterdir() if path.is_dir()}
    missing = []
    for document in documents(project_folder):
        text = document.read_text()
        named = {name for name in re.findall(r"`([a-z_]+/[\w./-]+)`", text) if name.partition("/")[0] in folders}
        there = [project_folder / name for name in named]
        # A package or module may be named as Python does, and a placeholder in capitals stands for many files.
        missing += [
            f"{document.name}: {path}"
            for path in there
            if not (path.exists() or path.with_suffix(".py").exists() or re.search(r"[A-Z]{5,}", path.name))
        ]
    assert not missing
