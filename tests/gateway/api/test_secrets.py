"""A key that is known to the test must be found nowhere afterwards: no log, no error, no row, no reply, no file."""

import logging

import orjson
import pytest
from django.apps import apps
from django.core import serializers

from tests.gateway.api.test_inputs import picture, text

pytestmark = pytest.mark.django_db
PATHS = (
    "v6/images/text2img",
    "v6/images/fetch/5",
    "v7/images/cancel/5",
    "v6/base64_to_url",
    "v7/account",
    "v9/none",
    "v6/images/img2img",
)


def rows():
    """Every row of every table, as text."""
    return "".join(serializers.serialize("json", model.objects.all()) for model in apps.get_models())


def files(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def ways(key):
    """Each way to send a key, with fields around it that go wrong or echo."""
    around = {"prompt": "x", "model_id": "demo", "width": "wide", "api_key": key, "deep": {"key": [key]}, "note": key}
    fine = {"prompt": "x", "api_key": key, "deep": {"key": [key]}, "note": f"my key is {key}", "image": text(picture())}
    for body in (around, fine):
        yield orjson.dumps({"key": key, **body}), {}
        yield orjson.dumps(body), {"HTTP_AUTHORIZATION": f"Bearer {key}"}
        yield orjson.dumps(body), {"HTTP_X_API_KEY": key}
        yield orjson.dumps(body), {"HTTP_KEY": key}
        yield orjson.dumps(body), {"QUERY_STRING": f"key={key}"}
    yield b'{"key": "' + key.encode() + b'", broken', {}
    yield f"key={key}&prompt=x".encode(), {}


@pytest.mark.parametrize("path", PATHS)
def test_the_key_of_a_call_is_found_nowhere(alice, api, caplog, tmp_path, path):
    caplog.set_level(logging.DEBUG)
    for body, extra in ways(alice.key):
        api.send(path, body, **extra)
        assert alice.key not in api.last.content.decode()
        assert alice.key not in str(api.last.headers)
    assert alice.key not in caplog.text
    assert alice.key not in rows()
    assert alice.key.encode() not in files(tmp_path)


def test_a_wrong_key_is_found_nowhere_either(api, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    wrong = "img_live_" + "C4n4ry" * 9
    for body, extra in ways(wrong):
        api.send("v6/images/text2img", body, **extra)
        assert wrong not in api.last.content.decode()
    assert wrong not in caplog.text
    assert wrong not in rows()


def test_what_breaks_behind_the_door_does_not_take_the_key_into_the_log(alice, api, caplog, monkeypatch):
    def broken(**_):
        raise RuntimeError("broken")

    monkeypatch.setattr("gateway.api.views.generation.generation_place", broken)
    api.post("v6/images/text2img", prompt="x")
    assert api.status == 500
    assert "broken" in caplog.text
    assert alice.key not in caplog.text
