"""Bodies of replies and of webhooks, from generations in every state."""

from datetime import timedelta

import pytest
from django.utils import timezone

from gateway.api.pace import ETA_S_MAX, place_and_eta, queue_eta_s
from gateway.api.replies import success_body, webhook_body
from gateway.caching import caches_clear
from gateway.services import generation_abort, generation_settle
from inference.engine.spec import RenderResult
from inference.models import Generation, RenderWorker, WorkerState
from inference.states import generation_lease
from inference.storage import get_storage
from tests.gateway.api.conftest import render
from tests.support.orders import delivered, place

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(api):
    """A call that wants to be called back."""

    def make(**fields):
        body = api.post("v6/images/text2img", prompt="x", model_id="demo", **fields)
        return Generation.objects.get(pk=body["id"])

    return make


def again(generation):
    return Generation.objects.get(pk=generation.pk)


def test_the_webhook_of_a_success_holds_what_the_reply_holds(job):
    generation = job(track_id=17, webhook="https://example.com/hook")
    render(generation)
    body = webhook_body(again(generation))
    assert (body["status"], body["id"], body["track_id"]) == ("success", generation.pk, 17)
    assert body["output"] == [f"http://testserver/media/generations/{generation.token}-0.png"]
    assert body["meta"]["seed"] == generation.spec["seed"]
    assert body["generationTime"] == 1.2


def test_the_webhook_of_a_failure_says_failed_and_has_no_output(job):
    generation = job(track_id="abc")
    generation_abort(generation_id=generation.pk, error_code="render_lost", error_message="", now=timezone.now())
    body = webhook_body(again(generation))
    assert (body["status"], body["track_id"], body["code"]) == ("failed", "abc", "render_lost")
    assert body["message"] == body["messege"] != ""
    assert "output" not in body


def test_a_webhook_without_a_known_address_of_ours_uses_the_public_one(alice, settings):
    settings.PUBLIC_URL = "https://images.example.com"
    generation = place(alice).generation
    render(generation)
    assert webhook_body(again(generation))["output"][0].startswith("https://images.example.com/media/")


def test_the_time_of_a_render_that_reported_none_is_the_time_since_it_began(job):
    generation = job()
    result = RenderResult.from_dict(delivered(generation).to_dict() | {"run_ms": 0})
    ended_at = generation.created_at + timedelta(seconds=2.5)
    generation_settle(generation_id=generation.pk, result=result, now=ended_at)
    assert success_body(again(generation), base_url="")["generationTime"] == 2.5


def test_base64_of_a_picture_that_was_deleted_is_left_out(job):
    generation = job(base64="yes", samples=2)
    render(generation)
    get_storage().delete(generation.spec["output_keys"][0])
    assert len(success_body(again(generation), base_url="")["output"]) == 1


def test_addresses_of_base64_texts_are_written_once(job, settings):
    settings.BASE64_OUTPUT = "url"
    generation = job(base64="yes")
    render(generation)
    first = success_body(again(generation), base_url="http://h")["output"]
    get_storage().delete(generation.spec["output_keys"][0])
    assert success_body(again(generation), base_url="http://h")["output"] == first


class TestEstimates:
    @pytest.fixture(autouse=True)
    def _workers(self, db):
        RenderWorker.objects.create(
            name="one", state=WorkerState.IDLE, slots=2, report={"run_ms_p50": 4000}, last_seen_at=timezone.now()
        )

    def test_the_estimate_grows_with_the_queue(self, alice, charlie):
        first, second, third = (place(member).generation for member in (alice, charlie, alice))
        caches_clear()
        assert place_and_eta(first) == (0, 4)
        assert place_and_eta(second) == (1, 6)
        assert place_and_eta(third) == (2, 8)
        assert queue_eta_s(3) == 6
        assert queue_eta_s(0) == 0

    def test_a_running_call_is_measured_by_its_steps(self, job):
        generation = job()
        generation_lease(generation_id=generation.pk, worker="one", lease_until=timezone.now())
        Generation.objects.update(step=15, steps=20)
        assert place_and_eta(again(generation)) == (0, 1)

    def test_a_call_that_was_just_placed_stands_behind_all_that_wait(self, api, charlie, api_of):
        positions = [api.post("v6/images/text2img", prompt="x")["queue_position"] for _ in range(2)]
        assert positions == [0, 1]

    def test_no_estimate_is_endless(self, job):
        RenderWorker.objects.update(report={"run_ms_p50": 10**9})
        caches_clear()
        assert place_and_eta(job())[1] == ETA_S_MAX
