"""The generation routes: what they accept, what they reply, what stands in the table afterwards."""

from __future__ import annotations

import pytest

from inference.models import Generation

pytestmark = pytest.mark.django_db

TEXT_ROUTES = ("v3/text2img", "v4/dreambooth", "v6/images/text2img", "v6/realtime/text2img", "v7/images/text-to-image")


@pytest.mark.parametrize("path", TEXT_ROUTES)
def test_a_call_is_accepted_and_promises_its_pictures(api, path):
    body = api.post(path, prompt="a red circle", model_id="demo", width="256", height=256)
    assert api.status == 200
    assert body["status"] == "processing"
    generation = Generation.objects.get(pk=body["id"])
    assert body["output"] == []
    assert body["future_links"] == [f"http://testserver/media/generations/{generation.token}-0.png"]
    assert isinstance(body["eta"], int)
    assert body["eta"] >= 1
    assert generation.endpoint == path
    assert generation.spec["prompt"] == "a red circle"
