"""Log-in by another service is there when the operator has set it up, and costs nothing when not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = """
import json, sys
import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client, override_settings
from django.test.utils import setup_test_environment

django.setup()
setup_test_environment()
import gateway.urls
loaded = "requests" in sys.modules
call_command("migrate", verbosity=0)
plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
with override_settings(STORAGES={**settings.STORAGES, "staticfiles": plain}):
    page = Client().get("/accounts/login/").content.decode()
    away = Client().post("/accounts/github/login/?process=login")
print(json.dumps({
    "github": "Go on with GitHub" in page,
    "google": "Go on with Google" in page,
    "status": away.status_code,
    "location": away.headers.get("Location", ""),
    "requests": loaded,
}))
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("services") / "db.sqlite3"


def seen(database: Path, **settings: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GOOGLE_"))}
    environment |= {"DJANGO_SETTINGS_MODULE": "gateway.settings", "DATABASE_URL": f"sqlite:///{database}"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment | settings, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_service_with_a_client_id_has_a_button_that_leads_there(database: Path) -> None:
    found = seen(database, GITHUB_CLIENT_ID="the-id", GITHUB_SECRET="the-secret")
    assert (found["github"], found["google"]) == (True, False)
    assert found["status"] == 302
    assert found["location"].startswith("https://github.com/login/oauth/authorize?client_id=the-id&")


def test_without_any_there_is_no_button_and_their_http_client_is_not_loaded(database: Path) -> None:
    found = seen(database)
    assert (found["github"], found["google"], found["requests"]) == (False, False, False)
    assert found["status"] == 404
