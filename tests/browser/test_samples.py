"""Every sample on every page of the documentation is taken from the page as a reader copies it, and run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from django.utils import timezone

from gateway.site.docs import PAGES
from gateway.site.docs_samples import FOLDER
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
LANGUAGES = ("curl", "python", "javascript", "php", "node")
# Page -> what its samples print when they do what the page says.
PRINTED = {
    "authentication": "calls_per_minute|calls a minute",
    "errors": "invalid_request.*width",
    "waiting": "success",
    "idempotency": 'the same job|("id":\\d+).*\n.*\\1',
    "limits": "(?i)ratelimit-remaining",
    "pictures": "",
    "billing": "calls",
    "moving": "success",
}
_MAKE_READER = """
from django.utils import timezone
from accounts.models import User
from billing.models import Wallet
from gateway.services import account_open
user = User(email="reader@example.org")
user.set_unusable_password()
user.save()
account, key = account_open(owner=user, now=timezone.now())
Wallet.objects.filter(pk=account.pk).update(overrides={"calls_per_minute": 10000, "queued_calls": 50})
print("KEY=" + key.text)
"""
# What a reader would write around the function of the webhooks page, to ask it about one delivery.
DRIVERS = {
    "curl": '\nverify "$SECRET" "$ID" "$AT" "$SIGNATURE" < body && echo true || echo false\n',
    "python": (
        "\nimport json, os\nheaders = json.loads(os.environ['HEADERS'])\n"
        "print(str(verify(os.environ['SECRET'], headers, open('body', 'rb').read())).lower())\n"
    ),
    "javascript": (
        '\nimport { readFileSync } from "node:fs";\nconst { SECRET, HEADERS } = process.env;\n'
        'console.log(await verify(SECRET, JSON.parse(HEADERS), readFileSync("body", "utf8")));\n'
    ),
    "php": (
        "\n$headers = json_decode(getenv('HEADERS'), true);\n"
        "echo json_encode(verify(getenv('SECRET'), $headers, file_get_contents('body')));\n"
    ),
}
DRIVERS["node"] = DRIVERS["javascript"]


@pytest.fixture(scope="package")
def reader_key(service: Service) -> str:
    """A key of an account without tight limits: a page's samples are read in one go here."""
    return service.manage("shell", "-c", _MAKE_READER).stdout.partition("KEY=")[2].split()[0]


def samples_on(service: Service, path: str) -> dict[str, str]:
    with urllib.request.urlopen(service.url + path, timeout=30) as answer:
        page = answer.read().decode()
    found = re.findall(r'data-language="(\w+)"[^>]*><code>(.*?)</code>', page, re.DOTALL)
    return {language: html.unescape(text) for language, text in found}


def ran(text: str, language: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    program, name = RUNNERS[language]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    (folder / name).write_text(text)
    done = subprocess.run(
        [*program, name],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


# All of them on the first page; one on a model's page, whose samples differ by the body alone.
@pytest.mark.parametrize(
    ("path", "language"), [*(("/docs", name) for name in RUNNERS), ("/models/local/demo", "python")]
)
def test_the_first_call_makes_a_picture(
    service: Service, reader_key: str, tmp_path: Path, language: str, path: str
) -> None:
    done = ran(samples_on(service, path)[language].replace("$API_KEY", reader_key), language, tmp_path)
    assert "picture.png" in done.stdout if language == "node" else "success" in done.stdout
    if language == "node":
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PRINTED)
def test_the_sample_does_what_its_page_says(
    service: Service, reader_key: str, tmp_path: Path, page: str, language: str
) -> None:
    text = samples_on(service, f"/docs/{page}")[language].replace("$API_KEY", reader_key)
    done = ran(text.replace('"$API_KEY"', reader_key), language, tmp_path)
    assert re.search(PRINTED[page], done.stdout, re.DOTALL), done.stdout
    if page == "pictures" and language != "javascript":
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_webhook_sample_tells_true_deliveries_from_false_ones(
    service: Service, tmp_path: Path, language: str
) -> None:
    key, body, now_s = b"0123456789abcdef01234567", '{"status": "success", "id": 7}', int(timezone.now().timestamp())
    secret = "whsec_" + base64.b64encode(key).decode()
    (tmp_path / "body").write_text(body)
    text = samples_on(service, "/docs/webhooks")[language] + DRIVERS[language]

    def verdict(sent_at: int, signed: str) -> str:
        digest = hmac.new(key, f"msg_1.{sent_at}.{signed}".encode(), hashlib.sha256).digest()
        signature = f"v1,bm90aGlzb25l v1,{base64.b64encode(digest).decode()}"
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(sent_at), "webhook-signature": signature}
        env = {"SECRET": secret, "HEADERS": json.dumps(headers), "ID": "msg_1", "AT": str(sent_at)}
        return ran(text, language, tmp_path, SIGNATURE=signature, **env).stdout.strip()

    assert [verdict(now_s, body), verdict(now_s - 900, body), verdict(now_s, body + " ")] == ["true", "false", "false"]


def test_every_page_with_samples_is_run_here() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == {*PRINTED, "webhooks"}
    assert set(PRINTED) < set(PAGES)
