"""modelslab-py 0.2.3 against a running service: only its base URL is changed."""

import asyncio
import base64
import io
import urllib.request

import pytest
from modelslab_py.core.apis.community import Community
from modelslab_py.core.apis.image_editing import Image_editing
from modelslab_py.core.apis.realtime import Realtime
from modelslab_py.core.client import Client
from modelslab_py.schemas.community import ControlNet, Image2Image, Inpainting, Text2Image
from modelslab_py.schemas.image_editing import OutpaintingSchema, SuperResolutionSchema
from modelslab_py.schemas.realtime import RealtimeText2ImageSchema
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def client(service, key):
    client = Client(api_key=key, fetch_retry=20, fetch_timeout=1)
    client.base_url = f"{service.url}/api/"
    return client


def text2image(**changes):
    return Text2Image(**{"prompt": "a red circle", "model_id": "demo", "width": 256, "height": 192} | changes)


def opened(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        return Image.open(io.BytesIO(answer.read()))


def drawn(size=(64, 64)):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 0, 0)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("enterprise", [False, True])
def test_text_to_image_returns_a_picture_of_the_size_asked(client, enterprise):
    body = Community(client, enterprise=enterprise).text_to_image(text2image(seed=5, samples=2, track_id="mine"))
    assert body["status"] == "success"
    assert [opened(url).size for url in body["output"]] == [(256, 192)] * 2
    assert body["meta"]["seed"] == 5
    assert body["meta"]["track_id"] == "mine"


def test_a_job_that_is_answered_at_once_is_fetched_until_it_is_done(client):
    community = Community(client)
    started = community.text_to_image(Text2Image(prompt="x", model_id="demo", instant_response="yes"))
    assert started["status"] == "processing"
    finished = community.fetch(str(started["id"]))
    assert finished["status"] == "success"
    assert finished["output"] == started["future_links"]
    assert opened(finished["output"][0]).format == "PNG"


def test_the_asynchronous_half_does_the_same(client):
    async def journey():
        async with client:
            community = Community(client)
            started = await community.async_text_to_image(text2image(instant_response="yes"))
            return started, await community.async_fetch(str(started["id"]))

    started, finished = asyncio.run(journey())
    assert (started["status"], finished["status"]) == ("processing", "success")
    assert started["id"] == finished["id"]


def test_image_to_image_takes_a_result_of_ours_as_its_input(client):
    community = Community(client)
    first = community.text_to_image(text2image())["output"][0]
    body = community.image_to_image(Image2Image(prompt="x", model_id="demo", init_image=first, width=128, height=128))
    assert body["status"] == "success"
    assert opened(body["output"][0]).size == (128, 128)


def test_inpainting_takes_base64(client):
    body = Community(client).inpainting(
        Inpainting(prompt="x", model_id="demo", init_image=drawn(), mask_image=drawn(), width=64, height=64)
    )
    assert body["status"] == "success"


def test_realtime_needs_no_model(client):
    assert Realtime(client).text_to_image(RealtimeText2ImageSchema(prompt="x"))["status"] == "success"


def test_outpainting_with_the_librarys_own_defaults(client):
    body = Image_editing(client).outpainting(OutpaintingSchema(prompt="x", image=drawn()))
    assert body["status"] == "success"


def test_what_the_installation_lacks_arrives_as_a_text_that_says_so(client):
    with pytest.raises(Exception, match="capability_missing"):
        Image_editing(client).super_resolution(SuperResolutionSchema(init_image=drawn()))
    with pytest.raises(Exception, match="capability_missing"):
        Community(client).controlnet(
            ControlNet(prompt="x", model_id="demo", init_image=drawn(), controlnet_model="canny")
        )


def test_a_wrong_key_arrives_as_a_text_that_says_so(client):
    client.api_key = "wrong"
    with pytest.raises(Exception, match="key_invalid"):
        Community(client).text_to_image(text2image())


def test_system_details_of_an_enterprise(client):
    assert Community(client, enterprise=True).system_details()["status"] == "ok"
