"""Pictures that come with a call: from addresses, as base64, as files; and what keeps them harmless."""

import base64
import io

import pytest
from django.db import connection
from PIL import Image

from gateway.api.inputs import Unusable, base64_bytes, own_key, source_bytes
from gateway.errors import AddressRefused
from inference.models import Generation, ImageModel
from inference.storage import get_storage
from tests.gateway.api.conftest import render
from tests.support.receiver import receiving, reply

pytestmark = pytest.mark.django_db
IMG2IMG = "v6/images/img2img"


def picture(size=(64, 48), *, mode="RGB", colour=(200, 10, 10), kind="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind, **options)
    return file.getvalue()


def text(data):
    return base64.b64encode(data).decode()


@pytest.fixture
def elsewhere(settings):
    """Another server on loopback, which this installation opens."""
    settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
    with receiving() as receiver:
        yield receiver


def stored(key):
    return Image.open(io.BytesIO(get_storage().read(key)))


def sent(api, init_image, path=IMG2IMG, **fields):
    return api.post(path, prompt="x", model_id="demo", init_image=init_image, **fields)


def init_keys():
    return Generation.objects.get().spec["init_images"]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda data: text(data),
        lambda data: f"data:image/png;base64,{text(data)}",
        lambda data: f"  data:image/png;charset=x;base64,\n{text(data)}",
        lambda data: text(data).rstrip("="),
        lambda data: base64.urlsafe_b64encode(data).decode(),
        lambda data: "\n".join(text(data)[i : i + 76] for i in range(0, len(text(data)), 76)),
    ],
)
def test_base64_comes_in_many_spellings(api, spelling):
    assert sent(api, spelling(picture()))["status"] == "processing"
    (key,) = init_keys()
    assert key.startswith("inputs/")
    assert stored(key).size == (64, 48)


def test_a_picture_is_fetched_from_its_address(api, elsewhere):
    url = elsewhere.on("/a.png", reply(200, picture()))
    assert sent(api, url)["meta"]["init_image"] == url
    assert stored(init_keys()[0]).getpixel((0, 0)) == (200, 10, 10)


def test_a_picture_comes_as_a_file_of_a_form(client, alice):
    form = {"key": alice.key, "prompt": "x", "model_id": "demo", "init_image": io.BytesIO(picture())}
    response = client.post(f"/api/{IMG2IMG}", form)
    assert response.json()["status"] == "processing"
    assert Generation.objects.get().asked["init_image"] == "[picture]"


def test_equal_pictures_are_stored_once(api):
    sent(api, text(picture()))
    sent(api, text(picture()))
    first, second = Generation.objects.all()
    assert first.spec["init_images"] == second.spec["init_images"]


def test_what_is_stored_is_upright_pixels_and_nothing_else(api):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "a secret place"
    sent(api, text(picture(kind="JPEG", exif=exif.tobytes())))
    data = get_storage().read(init_keys()[0])
    assert stored(init_keys()[0]).size == (48, 64)
    assert b"secret" not in data


def test_transparency_survives(api):
    sent(api, text(picture(mode="RGBA", colour=(1, 2, 3, 4))))
    assert stored(init_keys()[0]).mode == "RGBA"


def test_large_pictures_are_brought_to_what_drawing_can_use(api):
    sent(api, text(picture(size=(3000, 1500))))
    assert stored(init_keys()[0]).size == (2048, 1024)


def test_several_pictures_are_a_list(api):
    assert sent(api, [text(picture()), text(picture(size=(32, 32)))])["status"] == "processing"
    assert len(init_keys()) == 2


def test_the_size_of_the_drawing_follows_the_shape_of_the_picture(api):
    meta = sent(api, text(picture(size=(800, 400))))["meta"]
    assert meta["width"] == pytest.approx(2 * meta["height"], abs=16)
    assert sent(api, text(picture(size=(800, 400))), width=128, height=128)["meta"]["width"] == 128


def test_editing_keeps_the_size_of_the_picture(api):
    body = sent(api, text(picture(size=(333, 222))), "v6/image_editing/inpaint", mask_image=text(picture()))
    assert (body["meta"]["width"], body["meta"]["height"]) == (328, 216)
    drawn = Generation.objects.get().spec
    assert (drawn["num_inference_steps"], drawn["operation"]) == (30, "inpaint")


@pytest.mark.parametrize(("own", "drawn_with"), [(7.5, 5.0), (3.5, 3.5)])
def test_editing_has_the_documented_guidance_unless_the_model_has_its_own(api, own, drawn_with):
    ImageModel.objects.filter(model_id="demo").update(guidance_scale_default=own)
    sent(api, text(picture()), "v6/image_editing/inpaint", mask_image=text(picture()))
    assert Generation.objects.get().spec["guidance_scale"] == drawn_with


# --- our own results as inputs ----------------------------------------------------------------------------------------


def test_a_result_of_ours_is_read_from_storage_although_our_host_is_closed(api, elsewhere, settings):
    settings.ALLOW_PRIVATE_ADDRESSES = []
    url = api.post("v6/images/text2img", prompt="x", model_id="demo")["future_links"][0]
    first = Generation.objects.get()
    assert "not finished" in sent(api, url)["message"]
    render(first)
    get_storage().write(first.spec["output_keys"][0], picture(), "image/png")
    assert sent(api, url)["status"] == "processing"


@pytest.mark.parametrize(
    "url",
    [
        "http://testserver/media/inputs/abc.png",
        "http://testserver/media/../secret",
        "http://testserver/other/generations/a-0.png",
        "http://elsewhere/media/generations/a-0.png",
        "http://[broken",
    ],
)
def test_only_our_own_results_are_read_that_way(url):
    assert own_key(url, "http://testserver") is None


def test_a_temporary_result_is_no_input_after_its_death():
    with pytest.raises(Unusable, match="expired"):
        source_bytes("http://testserver/media/temp/1000000000-abc-0.png", base_url="http://testserver", timeout_s=1)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("not a picture!", "neither an address"),
        (text(b"plain words"), "none of PNG"),
        (text(picture()[:60]), "broken or incomplete"),
        (text(picture(size=(4, 4))), "at least 8 a side"),
        (text(picture(size=(5000, 5000), mode="1", colour=1)), "the limit is"),
        ("https://127.0.0.1/a.png", "not on the public internet"),
        ("http://169.254.169.254/latest/meta-data", "not on the public internet"),
    ],
)
def test_what_is_no_usable_picture_is_a_fault_of_its_field(api, value, told):
    body = sent(api, value)
    assert api.status == 400
    (fault,) = body["errors"]
    assert (fault["field"], fault["code"]) == ("init_image", "unusable_image")
    assert told in fault["message"]
    assert not Generation.objects.exists()


def test_an_address_that_answers_with_an_error_is_told(api, elsewhere):
    body = sent(api, elsewhere.on("/gone.png", reply(404)))
    assert "it answered 404" in body["message"]


def test_faults_of_several_pictures_are_told_together(api):
    body = api.post("v6/images/inpaint", prompt="x", model_id="demo", init_image="!", mask_image="?")
    assert {fault["field"] for fault in body["errors"]} == {"init_image", "mask_image"}


def test_a_missing_picture_is_required(api):
    body = api.post("v6/images/inpaint", prompt="x", model_id="demo")
    assert {(fault["field"], fault["code"]) for fault in body["errors"]} == {
        ("init_image", "required"),
        ("mask_image", "required"),
    }


@pytest.mark.parametrize("value", [5, {"url": "x"}, [1], ["a"] * 11, True])
def test_a_picture_of_the_wrong_kind_is_a_fault(api, value):
    assert sent(api, value)["errors"][0]["field"] == "init_image"


def test_nothing_is_fetched_for_a_call_that_would_be_refused(api, elsewhere):
    url = elsewhere.on("/a.png", reply(200, picture()))
    assert sent(api, url, width="wide")["code"] == "invalid_request"
    for _ in range(2):
        api.post("v6/images/text2img", prompt="x", model_id="demo")
    assert sent(api, url)["code"] == "queue_full"
    assert elsewhere.heard == []


@pytest.mark.parametrize("value", ["a", "é", "AAAA AAAA!", "data:image/png;base64,%%%"])
def test_base64_that_is_none_is_refused(value):
    with pytest.raises(Unusable):
        base64_bytes(value)


def test_addresses_are_checked_by_the_guarded_client_alone(api, monkeypatch):
    def refused(url, **_):
        raise AddressRefused(url=url, reason="of the guard")

    monkeypatch.setattr("gateway.api.inputs.http_fetch", refused)
    assert "of the guard" in sent(api, "https://example.com/a.png")["message"]


def test_a_picture_of_too_many_bytes_is_refused(api, monkeypatch):
    monkeypatch.setattr("gateway.api.inputs.MAX_BYTES", 100)
    assert "larger than the 100 bytes that are accepted" in sent(api, text(picture(size=(640, 480))))["message"]


def test_pictures_of_one_call_have_one_deadline():
    with pytest.raises(Unusable, match="too long together"):
        source_bytes("https://example.com/a.png", base_url="http://testserver", timeout_s=0)


@pytest.mark.django_db(transaction=True)
def test_the_database_connection_is_given_back_before_a_picture_is_fetched(monkeypatch):
    order = []

    def fetch(url, **_):
        order.append("fetched")
        raise AddressRefused(url=url, reason="enough seen")

    monkeypatch.setattr(connection, "close", lambda: order.append("closed"))
    monkeypatch.setattr("gateway.api.inputs.http_fetch", fetch)
    with pytest.raises(Unusable):
        source_bytes("https://example.com/a.png", base_url="http://testserver", timeout_s=5)
    monkeypatch.undo()
    assert order == ["closed", "fetched"]
