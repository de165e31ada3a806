"""Fetch in all its spellings, cancel, and the list of one's own calls."""

import pytest
from django.utils import timezone

from billing.models import UsageDay
from gateway.api.routes import ROUTES
from gateway.api.views import jobs
from gateway.services import generation_abort, generation_settle
from inference.engine.spec import RenderResult
from inference.models import Generation
from tests.gateway.api.conftest import render
from tests.support.orders import delivered

pytestmark = pytest.mark.django_db

FETCHES = sorted({route.path for route in ROUTES if route.handler is jobs.fetch})


@pytest.fixture
def job(api):
    return api.post("v6/images/text2img", prompt="a red circle", model_id="demo", track_id=4)["id"]


def test_the_documented_spellings_are_there():
    documented = {
        "v3/fetch/{id}",
        "v3/dreambooth/fetch/{id}",
        "v4/dreambooth/fetch",
        "v6/images/fetch",
        "v6/images/fetch/{id}",
        "v6/realtime/fetch/{id}",
        "v6/image_editing/fetch/{id}",
        "v7/images/fetch/{id}",
        "v1/enterprise/fetch",
    }
    assert documented <= set(FETCHES)


@pytest.mark.parametrize("path", FETCHES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_fetch_finds_every_job_by_post_and_by_get(api, job, path, slash):
    if path.endswith("{id}"):
        bodies = [api.post(path.replace("{id}", str(job)) + slash), api.get(path.replace("{id}", str(job)) + slash)]
    else:
        bodies = [api.post(path + slash, request_id=value) for value in (job, str(job))]
        bodies.append(api.get(f"{path}{slash}?request_id={job}"))
    for body in bodies:
        assert (body["status"], body["id"], body["output"]) == ("processing", job, [])
        assert body["fetch_result"].startswith("http://testserver/api/v")


def test_a_finished_job_is_fetched_as_often_as_one_likes(api, job, only_generation):
    render(only_generation())
    first, second = api.post(f"v3/fetch/{job}"), api.post(f"v7/images/fetch/{job}")
    assert first["status"] == second["status"] == "success"
    assert first["output"] == second["output"]
    assert first["meta"] == second["meta"]


def test_fetching_is_never_counted(alice, api, job):
    for _ in range(30):
        assert api.post(f"v6/images/fetch/{job}")["status"] == "processing"
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 1


@pytest.mark.parametrize("unknown", ["1", "999999999999", "0", "-5", "abc", "9" * 40, "1.5", "%00"])
def test_an_unknown_id_is_answered_at_once(api, unknown):
    body = api.post(f"v6/images/fetch/{unknown}")
    assert (api.status, body["status"], body["code"]) == (404, "error", "generation_not_found")


@pytest.mark.parametrize("value", [[1], {"a": 1}, True, 1.5, "9" * 40])
def test_an_id_of_the_wrong_kind_is_an_unknown_one(api, value):
    assert api.post("v6/images/fetch", request_id=value)["code"] == "generation_not_found"
    assert api.status == 404


def test_a_fetch_without_an_id_says_so(api):
    body = api.post("v6/images/fetch")
    assert (api.status, body["errors"][0]["field"]) == (400, "request_id")


def test_a_strangers_job_is_answered_like_an_unknown_one(api_of, charlie, api, job):
    stranger = api_of(charlie)
    theirs = stranger.post(f"v6/images/fetch/{job}")
    unknown = stranger.post(f"v6/images/fetch/{job + 1}")
    assert stranger.status == 404
    assert theirs["message"].replace(str(job), "N") == unknown["message"].replace(str(job + 1), "N")
    assert set(theirs) == set(unknown)


def test_a_colleague_with_a_key_of_the_account_sees_its_jobs(api_of, bob, job):
    assert api_of(bob).post(f"v6/images/fetch/{job}")["status"] == "processing"


def test_a_failed_job_is_an_error_with_status_200(api, job):
    generation_abort(generation_id=job, error_code="render_lost", error_message="Lost.", now=timezone.now())
    body = api.post(f"v6/images/fetch/{job}")
    assert api.status == 200
    assert (body["status"], body["code"]) == ("error", "render_lost")
    assert body["message"] == body["messege"] == "Lost."
    assert body["cost_microusd"] == 0


def test_the_reply_tells_what_the_engine_really_used(api, job, only_generation):
    report = delivered(only_generation()).to_dict()
    report |= {
        "used": {
            "prompt": "a red circle, sharp",
            "num_inference_steps": 7,
            "scheduler": "DDIMScheduler",
            "clip_skip": 1,
        },
        "notes": ["tomesd: no effect here."],
    }
    generation_settle(generation_id=job, result=RenderResult.from_dict(report), now=timezone.now())
    body = api.post(f"v6/images/fetch/{job}")
    meta = body["meta"]
    assert (meta["prompt"], meta["steps"], meta["num_inference_steps"]) == ("a red circle, sharp", 7, 7)
    assert (meta["scheduler"], meta["clip_skip"]) == ("DDIMScheduler", 2)
    assert body["notes"] == ["tomesd: no effect here."]


def test_a_flagged_picture_is_told(api, job, only_generation):
    render(only_generation(), flagged=1)
    assert api.post(f"v6/images/fetch/{job}")["nsfw_content_detected"] is True


def test_a_read_only_key_may_fetch_and_may_not_generate(alice, api, job):
    from accounts.models import ApiKey

    ApiKey.objects.filter(pk=alice.key_id).update(scopes=["read"])
    from gateway.caching import caches_clear

    caches_clear()
    assert api.post(f"v6/images/fetch/{job}")["status"] == "processing"
    body = api.post("v6/images/text2img", prompt="x")
    assert (api.status, body["code"], body["scope"]) == (403, "scope_denied", "generate")


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_a_waiting_job_can_be_cancelled_and_costs_nothing(alice, api, job):
    body = api.post(f"v7/images/cancel/{job}")
    assert (body["status"], body["state"], body["cost_microusd"]) == ("success", "cancelled", 0)
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 0
    assert api.post("v7/images/cancel", request_id=job)["status"] == "success"
    fetched = api.post(f"v7/images/fetch/{job}")
    assert (fetched["status"], fetched["code"]) == ("error", "cancelled")


def test_a_finished_job_cannot_be_cancelled(api, job, only_generation):
    render(only_generation())
    body = api.post(f"v7/images/cancel/{job}")
    assert (api.status, body["code"], body["state"]) == (409, "already_settled", "succeeded")
    assert only_generation().state == "succeeded"


def test_a_strangers_job_cannot_be_cancelled(api_of, charlie, job, only_generation):
    stranger = api_of(charlie)
    assert stranger.post(f"v7/images/cancel/{job}")["code"] == "generation_not_found"
    assert only_generation().state == "waiting"


# --- list, counts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def three_jobs(api):
    jobs = []
    for _ in range(3):
        jobs.append(api.post("v6/images/text2img", prompt="x", model_id="demo")["id"])
        render(Generation.objects.get(pk=jobs[-1]))
    return jobs


def test_own_jobs_are_listed_newest_first_in_pages(api, three_jobs):
    page = api.get("v7/images?limit=2")
    assert [row["id"] for row in page["data"]] == sorted(three_jobs, reverse=True)[:2]
    assert page["data"][0]["status"] == "success"
    assert page["data"][0]["output"][0].startswith("http://testserver/media/")
    rest = api.get(f"v7/images?limit=2&cursor={page['next_cursor']}")
    assert [row["id"] for row in rest["data"]] == sorted(three_jobs)[:1]
    assert rest["next_cursor"] is None


def test_a_stranger_sees_none_of_them(api_of, charlie, three_jobs):
    assert api_of(charlie).get("v7/images")["data"] == []


def test_counts_and_load_are_told(api, job):
    assert api.post("v6/processing/request_count")["processing_count"] == 1
    load = api.post("v3/system_load")
    assert (load["status"], load["queue_num"]) == ("ok", 1)
    assert load["queue_time"] >= 1
