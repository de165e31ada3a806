"""The playground places calls like any program's: counted, priced, refused in words, seen by their account alone."""

from __future__ import annotations

import html
import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image

from accounts.models import ApiKey, Membership, Role
from accounts.services import account_suspend
from billing.models import UsageDay, Wallet
from billing.services import funds_grant, plan_assign
from gateway.api import last_use
from inference.models import Adapter, Generation
from tests.conftest import Member

RUN = "/playground/run/local/demo"
JSON = {"accept": "application/json"}
FIELDS = {"prompt": "a red circle", "width": "256", "height": "256", "samples": "1", "seed": "", "webhook": ""}


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


def test_a_call_is_placed_and_counted_once(as_alice: Client, alice: Member) -> None:
    answer = as_alice.post(RUN, FIELDS, headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    generation = Generation.objects.get(account_id=alice.account.pk)
    assert (generation.asked["prompt"], generation.endpoint) == ("a red circle", "v7/images/text-to-image")
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 1


def test_its_key_has_no_text_that_anybody_saw(as_alice: Client, alice: Member) -> None:
    for _ in range(2):
        as_alice.post(RUN, FIELDS, headers=JSON)
    key = ApiKey.objects.get(account=alice.account, name="Playground")
    assert key.scopes == ["generate"]
    assert Generation.objects.filter(key_id=key.pk).count() == 2


def test_its_key_tells_its_last_use_like_any_other(as_alice: Client, alice: Member) -> None:
    last_use._uses.clear()
    as_alice.post(RUN, FIELDS | {"width": "99999"}, headers=JSON)
    assert last_use.flush() == 0
    as_alice.post(RUN, FIELDS, headers=JSON, REMOTE_ADDR="203.0.113.7")
    assert last_use.flush() == 1
    key = ApiKey.objects.get(account=alice.account, name="Playground")
    assert (key.last_used_address, key.last_used_endpoint) == ("203.0.113.7", "v7/images/text-to-image")
    assert "/images/text-to-image<br>203.0.113.7" in as_alice.get("/dashboard/keys").content.decode()


def test_its_key_holds_for_it_too(as_alice: Client, alice: Member) -> None:
    as_alice.post(RUN, FIELDS, headers=JSON)
    mine = ApiKey.objects.filter(account=alice.account, name="Playground")
    mine.update(networks=["198.51.100.0/24"])
    refused = as_alice.post(RUN, FIELDS, headers=JSON, REMOTE_ADDR="203.0.113.7")
    assert (refused.status_code, refused.json()["code"]) == (403, "address_denied")
    mine.update(expires_at=timezone.now())
    assert as_alice.post(RUN, FIELDS, headers=JSON).status_code == 202
    assert mine.count() == 2


def test_a_suspended_account_makes_nothing(as_alice: Client, alice: Member) -> None:
    account_suspend(account=alice.account, reason="a payment was disputed.", now=timezone.now())
    refused = as_alice.post(RUN, FIELDS, headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")
    assert not Generation.objects.exists()


def test_a_plain_form_leads_to_the_call_s_own_page(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/dashboard/requests/{Generation.objects.get().pk}"
    assert as_alice.get(answer.headers["Location"]).status_code == 200


def test_bad_input_is_told_and_writes_nothing(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS | {"width": "99999"}, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Width is 99999; ")
    assert not Generation.objects.exists()


def test_a_third_waiting_call_of_the_free_plan_is_refused(as_alice: Client) -> None:
    answers = [as_alice.post(RUN, FIELDS, headers=JSON) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "queue_full"


def test_cancelling_gives_the_free_call_back(as_alice: Client, alice: Member) -> None:
    job = as_alice.post(RUN, FIELDS, headers=JSON).json()
    assert as_alice.post(f"/playground/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 0


def test_a_stranger_sees_and_stops_nothing(client: Client, as_alice: Client, charlie: Member) -> None:
    job = as_alice.post(RUN, FIELDS, headers=JSON).json()
    client.force_login(charlie.user)
    assert client.get(f"/playground/jobs/{job['id']}").status_code == 404
    assert client.post(f"/playground/jobs/{job['id']}/cancel").status_code == 404
    assert client.get(f"/dashboard/requests/{job['id']}").status_code == 404
    assert Generation.objects.get().state == "waiting"


def test_a_visitor_logs_in_and_finds_the_form_as_it_was(client: Client, alice: Member) -> None:
    target = client.post(RUN, FIELDS | {"prompt": "a violet & star"}).headers["Location"]
    assert target.startswith("/accounts/login/?next=")
    page = parse_qs(urlsplit(target).query)["next"][0]
    client.force_login(alice.user)
    assert ">a violet &amp; star</textarea>" in client.get(page).content.decode()
    assert not Generation.objects.exists()


def test_bad_input_without_a_script_shows_the_form_again_with_the_reason(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS | {"width": "99999", "prompt": "a blue star"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "invalid_request" in page
    assert ">a blue star</textarea>" in page


def png() -> SimpleUploadedFile:
    data = io.BytesIO()
    Image.new("RGB", (256, 256), "red").save(data, "PNG")
    return SimpleUploadedFile("in.png", data.getvalue(), "image/png")


@pytest.mark.parametrize(
    ("operation", "files", "endpoint"),
    [
        ("img2img", ("init_image_file",), "v7/images/image-to-image"),
        ("inpaint", ("init_image_file", "mask_image_file"), "v7/images/inpaint"),
    ],
)
def test_pictures_come_as_files(as_alice: Client, operation: str, files: tuple[str, ...], endpoint: str) -> None:
    sent = FIELDS | {"operation": operation} | {name: png() for name in files}
    assert as_alice.post(RUN, sent, headers=JSON).status_code == 202
    generation = Generation.objects.get()
    assert (generation.operation, generation.endpoint) == (operation, endpoint)


def test_a_missing_picture_is_named(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS | {"operation": "img2img"}, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Picture is required."
    page = as_alice.post(RUN, FIELDS | {"operation": "img2img"}, headers={"accept-language": "de"}).content.decode()
    assert "Bild fehlt." in page


def test_several_loras_with_their_weights_are_one_call(as_alice: Client) -> None:
    for name in ("ink", "glow"):
        Adapter.objects.create(adapter_id=name, kind="lora", family="sd15", name=name, source=name)
    assert 'name="lora_model"' in as_alice.get("/models/local/demo").content.decode()
    rows = {"lora_model": ["ink", "", "glow"], "lora_strength": ["0.4", "1", "0.75"]}
    as_alice.post(RUN, FIELDS | rows, headers=JSON)
    asked = Generation.objects.get().asked
    assert (asked["lora_model"], asked["lora_strength"]) == ("ink,glow", "0.4,0.75")


def test_a_call_fills_the_form_again_for_its_own_account_alone(
    client: Client, as_alice: Client, charlie: Member
) -> None:
    job = as_alice.post(RUN, FIELDS | {"prompt": "a lonely tree", "num_inference_steps": "7"}, headers=JSON).json()
    page = as_alice.get(f"/models/local/demo?job={job['id']}").content.decode()
    assert ">a lonely tree</textarea>" in page
    assert re.search(r'name="num_inference_steps"[^>]*value="7"', page)
    client.force_login(charlie.user)
    assert "a lonely tree" not in client.get(f"/models/local/demo?job={job['id']}").content.decode()


def test_the_job_carries_the_reply_that_the_api_would_give(as_alice: Client) -> None:
    job = as_alice.post(RUN, FIELDS, headers=JSON).json()
    assert (job["reply"]["status"], job["reply"]["id"]) == ("processing", int(job["id"]))


def test_each_picture_says_what_it_cost_and_not_what_all_did(as_alice: Client) -> None:
    job = as_alice.post(RUN, FIELDS | {"samples": "4"}, headers=JSON).json()
    Generation.objects.update(charged_microusd=8_000, images_delivered=4)
    assert as_alice.get(f"/playground/jobs/{job['id']}").json()["charged"] == "$0.0020"


class TestWhatPays:
    def told(self, client: Client) -> str:
        found = re.search(r"<span data-after[^>]*>(.*?)</span>", client.get("/models/local/demo").content.decode())
        assert found is not None
        return html.unescape(found[1])

    def test_a_free_call_and_how_many_are_left_after_it(self, as_alice: Client) -> None:
        assert self.told(as_alice) == "A free call: 99 of 100 left after it."
        as_alice.post(RUN, FIELDS, headers=JSON)
        assert self.told(as_alice) == "A free call: 98 of 100 left after it."

    def test_funds_and_what_is_left_of_them(self, as_alice: Client, alice: Member) -> None:
        plan_assign(account_id=alice.account.pk, plan_code="payg", now=timezone.now())
        Wallet.objects.filter(pk=alice.account.pk).update(overrides={"free_calls_per_day": 0})
        assert self.told(as_alice) == "Your funds are $0.00: it needs $0.0020 more."
        funds_grant(
            account_id=alice.account.pk, amount_microusd=5_000_000, op_key="test", now=timezone.now(), reason="test"
        )
        assert self.told(as_alice) == "From funds: $4.99 left after it."

    def test_nothing_left_says_what_to_do(self, as_alice: Client, alice: Member) -> None:
        Wallet.objects.filter(pk=alice.account.pk).update(overrides={"free_calls_per_day": 0})
        assert "add funds" in self.told(as_alice)


def test_a_viewer_makes_nothing(client: Client, bob: Member) -> None:
    Membership.objects.filter(user=bob.user).update(role=Role.VIEWER)
    client.force_login(bob.user)
    assert client.post(RUN, FIELDS, headers=JSON).status_code == 403
    assert not Generation.objects.exists()
