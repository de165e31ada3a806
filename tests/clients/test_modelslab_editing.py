"""modelslab-py 0.2.3 against a service that really draws: every call of Community and Image_editing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from modelslab_py.core.apis.community import Community
from modelslab_py.core.apis.image_editing import Image_editing
from modelslab_py.core.client import Client
from modelslab_py.schemas import community, image_editing
from PIL import Image

from tests.clients.test_operations import half_mask, picture, text
from tests.support.service import Service
from tests.support.tiny_operations import disc, noise

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(900)]
FETCH_RETRIES = 240
SMALL = {"width": 64, "height": 64, "num_inference_steps": 2}
DRAWN = SMALL | {"model_id": "tiny", "prompt": "x"}
PICTURE, SQUARE = text(disc()), text(noise(64, 64))

# The library's method -> its schema, what to send, and the size of what comes back.
COMMUNITY: dict[str, tuple[type[Any], dict[str, Any], tuple[int, int]]] = {
    "text_to_image": (community.Text2Image, DRAWN, (64, 64)),
    "image_to_image": (community.Image2Image, DRAWN | {"init_image": SQUARE}, (64, 64)),
    "inpainting": (community.Inpainting, DRAWN | {"init_image": SQUARE, "mask_image": half_mask()}, (64, 64)),
    "controlnet": (community.ControlNet, DRAWN | {"init_image": SQUARE, "controlnet_model": "canny"}, (64, 64)),
    "z_image_turbo": (community.ZImageTurbo, {"prompt": "x", "width": 64, "height": 64}, (64, 64)),
    "flux_2_dev": (community.Flux2Dev, {"prompt": "x", "width": 64, "height": 64}, (64, 64)),
}
EDITING: dict[str, tuple[type[Any], dict[str, Any], tuple[int, int]]] = {
    "outpainting": (image_editing.OutpaintingSchema, SMALL | {"prompt": "x", "image": PICTURE}, (64, 64)),
    "background_remover": (image_editing.BackgroundRemoverSchema, {"image": PICTURE}, (96, 64)),
    "super_resolution": (image_editing.SuperResolutionSchema, {"init_image": PICTURE}, (384, 256)),
    "object_remover": (
        image_editing.ObjectRemovalSchema,
        {"init_image": SQUARE, "mask_image": half_mask()},
        (64, 64),
    ),
    "inpainting": (
        image_editing.InpaintingSchema,
        SMALL | {"prompt": "x", "init_image": SQUARE, "mask_image": half_mask()},
        (64, 64),
    ),
}
ABSENT: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "fashion": (image_editing.FashionSchema, {"init_image": PICTURE}),
    "facegen": (image_editing.FacegenSchema, {"prompt": "x"}),
    "headshot": (image_editing.HeadshotSchema, {"prompt": "x"}),
    "flux_headshot": (image_editing.FluxHeadshotSchema, {"prompt": "x"}),
    "qwen_edit": (image_editing.QwenEditSchema, {"prompt": "x", "init_image": [PICTURE]}),
    "caption": (image_editing.CaptionSchema, {"init_image": PICTURE}),
}


@pytest.fixture
def client(studio: Service, studio_key: str) -> Client:
    client = Client(api_key=studio_key, fetch_retry=FETCH_RETRIES, fetch_timeout=1)
    client.base_url = f"{studio.url}/api/"
    return client


def called(api: Any, method: str, schema: Any) -> Image.Image:
    """The picture that the library gets, by its own fetching if it has to wait."""
    body = getattr(api, method)(schema)
    if body["status"] == "processing":
        body = api.fetch(str(body["id"]))
    return picture(body)


@pytest.mark.parametrize("enterprise", [False, True])
@pytest.mark.parametrize("method", COMMUNITY)
def test_community(client: Client, method: str, enterprise: bool) -> None:
    schema, fields, size = COMMUNITY[method]
    assert called(Community(client, enterprise=enterprise), method, schema(**fields)).size == size


@pytest.mark.parametrize("enterprise", [False, True])
@pytest.mark.parametrize("method", EDITING)
def test_image_editing(client: Client, method: str, enterprise: bool) -> None:
    schema, fields, size = EDITING[method]
    assert called(Image_editing(client, enterprise=enterprise), method, schema(**fields)).size == size


def test_the_asynchronous_half_edits_too(client: Client) -> None:
    async def journey() -> list[dict[str, Any]]:
        client.fetch_timeout = 60  # of each request, in this half
        async with client:
            api = Image_editing(client)
            calls = [getattr(api, f"async_{name}")(schema(**fields)) for name, (schema, fields, _) in EDITING.items()]
            return await asyncio.gather(*calls)

    assert {body["status"] for body in asyncio.run(journey())} <= {"success", "processing"}


@pytest.mark.parametrize("method", ABSENT)
def test_what_no_engine_here_can_do_arrives_as_a_text_that_says_so(client: Client, method: str) -> None:
    schema, fields = ABSENT[method]
    with pytest.raises(Exception, match="capability_missing"):
        getattr(Image_editing(client), method)(schema(**fields))


def test_qwen_by_text_is_for_enterprises_and_not_here(client: Client) -> None:
    with pytest.raises(Exception, match="capability_missing"):
        Community(client, enterprise=True).qwen_text_to_image(community.QwenText2Image(prompt="x"))
