"""The reference's samples: every operation, in every language, taken from the page and run, sends exactly that call."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gateway.site.openapi import NOT_HERE, document
from gateway.site.reference import operations
from tests.support.receiver import Receiver, receiving, reply

SAMPLE = re.compile(r'id="([\w-]+)-(curl|python|javascript|php|node)"[^>]*><pre[^>]*><code>(.*?)</code>', re.DOTALL)
# Language -> one program that runs all of its samples, one after the other.
_NODE = (
    'import { readdirSync } from "node:fs";\n'
    'for (const name of readdirSync(".").sort()) if (name.endsWith(".mjs")) await import(`${process.cwd()}/${name}`);'
)
RUNNERS = {
    "curl": ["bash", "-c", 'for file in *.curl; do bash "$file" || exit 1; done'],
    "python": [sys.executable, "-c", "import glob\nfor n in sorted(glob.glob('*.python')): exec(open(n).read(), {})"],
    "javascript": ["node", "--input-type=module", "-e", _NODE],
    "node": ["node", "--input-type=module", "-e", _NODE],
    "php": ["php", "-r", 'foreach (glob("*.php") as $file) { (function () use ($file) { include $file; })(); }'],
}
ENDINGS = {"javascript": "mjs", "node": "mjs"}


@pytest.fixture
def receiver() -> Any:
    with receiving() as running:
        yield running


def wanted() -> dict[str, tuple[str, str, Any]]:
    """Anchor -> method, path and body, straight from the OpenAPI document."""
    found = {}
    for group in operations():
        for one in group.operations if group.title != NOT_HERE else ():
            described = document()["paths"][one.path][one.method.lower()]
            body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example", {})
            found[one.anchor] = (one.method, one.path.replace("{id}", "ID"), None if one.method == "GET" else body)
    return found


@pytest.mark.parametrize("language", RUNNERS)
def test_every_sample_sends_the_call_it_stands_under(
    client: Client, catalogue: None, receiver: Receiver, tmp_path: Path, language: str, settings: Any
) -> None:
    if shutil.which(RUNNERS[language][0]) is None:
        pytest.skip(f"{RUNNERS[language][0]} is not installed")
    settings.PUBLIC_URL = receiver.url
    page = client.get("/docs/reference").content.decode()
    texts = {anchor: html.unescape(text) for anchor, name, text in SAMPLE.findall(page) if name == language}
    calls = wanted()
    assert set(texts) == set(calls)
    for anchor, text in texts.items():
        receiver.on(calls[anchor][1], reply(body=b'{"status": "success"}', Content_Type="application/json"))
        (tmp_path / f"{anchor}.{ENDINGS.get(language, language)}").write_text(text.replace("$API_KEY", "the-key"))
    done = subprocess.run(RUNNERS[language], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    sent = sorted(
        (one.method, one.path, json.dumps(json.loads(one.body) if one.body else None)) for one in receiver.heard
    )
    assert sent == sorted((method, path, json.dumps(body)) for method, path, body in calls.values())
    assert {one.headers["authorization"] for one in receiver.heard} == {"Bearer the-key"}


def test_every_required_field_has_a_value_in_the_example() -> None:
    for path, item in document()["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if content:
            assert set(content["schema"].get("required", [])) <= set(content["example"]), path


def test_what_is_not_offered_has_no_sample(client: Client, catalogue: None) -> None:
    page = client.get("/docs/reference").content.decode()
    group = next(group for group in operations() if group.title == NOT_HERE)
    assert f'id="{group.operations[0].anchor}"' in page
    assert f'data-tabs="{group.operations[0].anchor}"' not in page
