"""`make run` and its environment: what is missing or in the way is one sentence; what is told is true."""

import json
import os
import shlex
import socket
import stat
import subprocess
import sys

import pytest

from tools import environment, run
from tools.problems import Problem

FACTS = {
    "api_key": "img_live_abc",
    "admin_email": "admin@example.com",
    "admin_password": "secret",
    "url": "http://127.0.0.1:8123",
    "model_id": "demo",
}


def make_run(project_folder, tmp_path, **settings):
    """The real command, stopped by what it finds before it would install or start anything."""
    return subprocess.run(
        [sys.executable, "-m", "tools.run"],
        cwd=project_folder,
        env={**os.environ, "RUN_DIR": str(tmp_path / "run"), **settings},
        capture_output=True,
        text=True,
        timeout=30,
    )


def assert_one_sentence(done, *words):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_a_taken_port_is_named_with_the_way_out(project_folder, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = make_run(project_folder, tmp_path, PORT=str(port))
    assert_one_sentence(done, f"Port {port} is taken", f"make run PORT={port + 1}")


@pytest.mark.parametrize("port", ["web", "0", "70000", "-1"])
def test_a_port_that_is_none_is_refused(project_folder, tmp_path, port):
    assert_one_sentence(make_run(project_folder, tmp_path, PORT=port), "PORT must be a number", repr(port))


def test_a_folder_that_cannot_be_written_is_named(project_folder, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    done = make_run(project_folder, tmp_path, RUN_DIR=str(in_the_way / "run"))
    assert_one_sentence(done, str(in_the_way), "cannot be written")


def test_a_second_service_on_the_same_folder_is_refused(tmp_path):
    with run._only_one(tmp_path), pytest.raises(Problem, match=f"process {os.getpid()}"), run._only_one(tmp_path):
        pytest.fail("the second one got in")


def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(monkeypatch):
    monkeypatch.setattr(environment, "FREE_DISK_BYTES_MIN", 10**18)
    with pytest.raises(Problem, match=r"GB free; the first start needs"):
        environment._demand_disk()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("error: command 'gcc' failed: No such file or directory", "C compiler"),
        ("ERROR: No matching distribution found for torch==9", "No matching distribution found for torch==9"),
    ],
)
def test_the_reason_of_a_failed_installation_is_put_in_words(said, sentence):
    assert sentence in environment._why_pip_failed(f"Collecting torch\n{said}\n")


def test_an_environment_that_is_complete_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "STAMP", tmp_path / "installed.json")
    monkeypatch.setattr(environment, "_usable", lambda: True)
    installed = []
    monkeypatch.setattr(environment, "_install", lambda arguments, title: installed.append(arguments))
    environment.ensure(development=True)
    assert installed[-1] == ["-r", str(environment.DEVELOPMENT)]
    installed.clear()
    environment.ensure(development=True)
    environment.ensure()
    assert installed == []


def test_changed_requirements_are_installed_anew_with_pip_and_torch_first(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "STAMP", tmp_path / "installed.json")
    monkeypatch.setattr(environment, "_usable", lambda: True)
    (tmp_path / "installed.json").write_text(json.dumps({"runtime": "of older requirements"}))
    installed = []
    monkeypatch.setattr(environment, "_install", lambda arguments, title: installed.append(arguments))
    environment.ensure()
    assert [arguments[0].partition("==")[0] for arguments in installed] == ["pip", "torch", "-r"]


def test_settings_of_the_env_file_do_not_override_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(os, "environ", {"PORT": "9000"})
    (tmp_path / ".env").write_text("# a comment\nPORT=9001\nexport SITE_NAME='My pictures'\n#DEBUG=true\n")
    run._load_dotenv()
    assert os.environ == {"PORT": "9000", "SITE_NAME": "My pictures"}


def test_the_facts_are_written_for_their_owner_alone(tmp_path):
    path = tmp_path / "demo.env"
    path.write_text("API_KEY=of another time\n")
    run._write_facts(FACTS, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == (
        "URL=http://127.0.0.1:8123\nAPI_KEY=img_live_abc\nADMIN_EMAIL=admin@example.com\nADMIN_PASSWORD=secret\n"
    )


def test_the_curl_line_is_one_that_a_shell_understands():
    words = shlex.split(run.curl_line(FACTS))
    assert words[0] == "curl"
    assert "http://127.0.0.1:8123/api/v7/images/text-to-image" in words
    body = json.loads(words[words.index("-d") + 1])
    assert (body["key"], body["model_id"], body["width"]) == ("img_live_abc", "demo", 512)


def test_without_a_python_make_says_which_one_is_needed(project_folder):
    done = subprocess.run(["make", "run", "PYTHON="], cwd=project_folder, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stdout


def test_an_old_python_gets_a_sentence_and_no_syntax_error(project_folder):
    old = "import sys; sys.version_info = (3, 9, 1); import runpy; runpy.run_module('tools.run', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", old], cwd=project_folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("Python 3.11 or newer is needed; this is 3.9.")
