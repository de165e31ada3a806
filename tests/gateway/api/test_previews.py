"""A call that is watched: its steps and what it is becoming, for its own account, while it runs and no longer."""

import pytest
from django.utils import timezone

from gateway.media import media
from gateway.tasks import progress
from inference.erasing import files_delete
from inference.states import generation_lease
from inference.storage import expiry_epoch_s, get_storage, is_served
from tests.gateway.api.conftest import PNG, render

pytestmark = pytest.mark.django_db
PATH = "v7/images/text-to-image"


@pytest.fixture
def running(api, only_generation):
    """A watched call that a render worker has begun."""
    body = api.post(PATH, prompt="a red circle", num_inference_steps=20, samples=2, previews="yes")
    assert (body["step"], body["steps"]) == (0, 40)
    assert "preview" not in body
    generation_lease(generation_id=body["id"], worker="w", lease_until=timezone.now())
    return only_generation()


def fetched(api, running):
    return api.post(f"v7/images/fetch/{running.pk}")


def advance(running, step):
    progress("w", [{"generation_id": running.pk, "attempt": 1, "step": step, "steps": 40}])


def test_fetch_tells_the_step_and_where_the_preview_is(api, running):
    advance(running, 7)
    assert "preview" not in fetched(api, running)
    get_storage().write(running.spec["preview_key"], PNG, "image/jpeg")
    body = fetched(api, running)
    assert (body["status"], body["step"], body["steps"]) == ("processing", 7, 40)
    assert body["preview"] == f"http://testserver/media/{running.spec['preview_key']}?step=7"


def test_its_address_is_temporary_and_nobody_may_keep_a_copy(rf, running):
    key = running.spec["preview_key"]
    assert is_served(key)
    assert expiry_epoch_s(key) > timezone.now().timestamp() + 3600
    get_storage().write(key, PNG, "image/jpeg")
    response = media(rf.get(f"/media/{key}"), key)
    assert b"".join(response.streaming_content) == PNG
    for close in response._resource_closers:
        close()
    assert (response["Cache-Control"], response["Content-Type"]) == ("no-store", "image/jpeg")


def test_a_finished_call_shows_its_pictures_and_no_preview(api, running):
    get_storage().write(running.spec["preview_key"], PNG, "image/jpeg")
    render(running)
    body = fetched(api, running)
    assert body["status"] == "success"
    assert "preview" not in body


def test_a_stranger_learns_nothing_of_it(api_of, charlie, running):
    get_storage().write(running.spec["preview_key"], PNG, "image/jpeg")
    stranger = api_of(charlie)
    body = stranger.post(f"v7/images/fetch/{running.pk}")
    assert (stranger.status, body["code"]) == (404, "generation_not_found")
    assert "preview" not in body


def test_a_store_that_is_away_costs_the_preview_and_not_the_reply(api, running, monkeypatch):
    def away(self, key):
        raise OSError("The store is away.")

    monkeypatch.setattr(type(get_storage()), "exists", away)
    body = fetched(api, running)
    assert (api.status, body["status"]) == (200, "processing")
    assert "preview" not in body


def test_what_a_killed_worker_left_goes_with_the_call_s_files(running):
    get_storage().write(running.spec["preview_key"], PNG, "image/jpeg")
    files_delete(running.spec, running.result)
    assert not get_storage().exists(running.spec["preview_key"])


def test_progress_renews_the_lease(running):
    before = running.lease_until
    advance(running, 3)
    running.refresh_from_db()
    assert (running.step, running.lease_until > before) == (3, True)


@pytest.mark.parametrize("asked", [{}, {"previews": "no"}, {"previews": ""}])
def test_nothing_is_prepared_unless_it_is_asked_for(api, only_generation, asked):
    api.post(PATH, prompt="a red circle", **asked)
    assert only_generation().spec["preview_key"] == ""
