"""The request log, one request's story and the gallery, over generations that the real services made and settled."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from PIL import Image

from gateway.services import generation_settle
from inference.engine.spec import RenderedImage, RenderResult
from inference.models import Generation
from inference.storage import get_storage
from tests.conftest import Member

RUN = "/playground/run/local/demo"
FIELDS = {"prompt": "a red circle <b>", "width": "256", "height": "256", "samples": "1", "track_id": "order-1"}


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.fixture
def delivered(as_alice: Client) -> Generation:
    """A call of alice's with its picture."""
    return deliver(as_alice)


def deliver(client: Client) -> Generation:
    job = client.post(RUN, FIELDS, headers={"accept": "application/json"}).json()
    generation = Generation.objects.get(pk=int(job["id"]))
    key = generation.spec["output_keys"][0]
    picture = io.BytesIO()
    Image.new("RGB", (256, 256), "red").save(picture, "PNG")
    get_storage().write(key, picture.getvalue(), "image/png")
    image = RenderedImage(index=0, key=key, seed=7, width_px=256, height_px=256, bytes=800, sha256="0" * 64)
    result = RenderResult(token=generation.token, attempt=1, images=(image,), run_ms=900, notes=("No effect: tomesd.",))
    assert generation_settle(generation_id=generation.pk, result=result, now=timezone.now() + timedelta(seconds=1))
    generation.refresh_from_db()
    return generation


@pytest.mark.parametrize(("language", "words"), [("en", "1 call ended"), ("de", "1 Aufruf beendet")])
def test_the_overview_counts_one_call_as_one(
    as_alice: Client, delivered: Generation, language: str, words: str
) -> None:
    assert words in as_alice.get("/dashboard", headers={"accept-language": language}).content.decode()


class TestTheLog:
    def test_a_call_is_found_by_its_id_its_track_id_and_its_state(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        for query in (f"q={delivered.pk}", "q=order-1", "state=succeeded", "model=demo"):
            assert str(delivered.pk) in as_alice.get(f"/dashboard/requests?{query}").content.decode(), query
        for query in ("q=1", "q=order-2", "state=failed", "model=other"):
            assert str(delivered.pk) not in as_alice.get(f"/dashboard/requests?{query}").content.decode(), query

    def test_a_span_holds_its_own_calls_alone(self, as_alice: Client, delivered: Generation) -> None:
        now_s = int(delivered.created_at.timestamp())
        for query, found in ((f"from={now_s - 60}&to={now_s + 60}", True), (f"to={now_s - 60}", False)):
            page = as_alice.get(f"/dashboard/requests?{query}").content.decode()
            assert (str(delivered.pk) in page) is found, query

    def test_older_calls_follow_by_the_last_id_seen(self, as_alice: Client, delivered: Generation) -> None:
        link = f'href="/dashboard/requests/{delivered.pk}"'
        assert link not in as_alice.get(f"/dashboard/requests?before={delivered.pk}").content.decode()
        assert link in as_alice.get(f"/dashboard/requests?before={delivered.pk + 1}").content.decode()

    def test_a_renewal_by_htmx_is_the_rows_alone(self, as_alice: Client, delivered: Generation) -> None:
        answer = as_alice.get("/dashboard/requests", headers={"hx-request": "true"})
        assert b"<html" not in answer.content
        assert str(delivered.pk).encode() in answer.content

    def test_a_stranger_s_log_is_empty(self, client: Client, delivered: Generation, charlie: Member) -> None:
        client.force_login(charlie.user)
        assert "No calls yet" in client.get("/dashboard/requests").content.decode()


class TestOneRequest:
    def test_it_tells_what_was_asked_what_it_cost_and_how_it_went(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        page = as_alice.get(f"/dashboard/requests/{delivered.pk}").content.decode()
        for words in (
            "a red circle &lt;b&gt;",
            "1 of 1 delivered",
            "Free call",
            "No effect: tomesd.",
            "order-1",
            "$0.00",
        ):
            assert words in page, words
        assert "curl http://testserver/api/v7/images/text-to-image" in page

    def test_it_names_the_plan_and_the_path_as_other_pages_do(self, as_alice: Client, delivered: Generation) -> None:
        page = as_alice.get(f"/dashboard/requests/{delivered.pk}").content.decode()
        assert "<dt>Plan</dt><dd>Free</dd>" in page
        assert f'<dd class="mono break">/api/{delivered.endpoint}</dd>' in page
        page = as_alice.get(f"/dashboard/requests/{delivered.pk}", headers={"accept-language": "de"}).content.decode()
        assert "<dt>Schritte</dt>" in page

    def test_the_replay_carries_no_key(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        page = as_alice.get(f"/dashboard/requests/{delivered.pk}").content.decode()
        assert alice.key not in page
        assert "$API_KEY" in page

    def test_an_id_beyond_all_numbers_is_404(self, as_alice: Client) -> None:
        assert as_alice.get(f"/dashboard/requests/{2**70}").status_code == 404


class TestDeleting:
    def test_one_call_s_words_and_pictures_go_and_its_line_stays(self, as_alice: Client, delivered: Generation) -> None:
        key = delivered.images[0]["key"]
        as_alice.post(f"/dashboard/requests/{delivered.pk}/delete")
        page = as_alice.get(f"/dashboard/requests/{delivered.pk}").content.decode()
        assert "a red circle" not in page
        assert "<dt>Deleted</dt>" in page
        assert not get_storage().exists(key)
        assert str(delivered.pk) in as_alice.get("/dashboard/requests").content.decode()

    def test_the_chosen_of_the_gallery_go(self, as_alice: Client, delivered: Generation) -> None:
        other = deliver(as_alice)
        as_alice.post("/dashboard/gallery/delete", {"id": [delivered.pk]})
        page = as_alice.get("/dashboard/gallery").content.decode()
        assert delivered.images[0]["key"] not in page
        assert other.images[0]["key"] in page

    def test_nobody_deletes_a_stranger_s(self, client: Client, delivered: Generation, charlie: Member) -> None:
        client.force_login(charlie.user)
        assert client.post(f"/dashboard/requests/{delivered.pk}/delete").status_code == 404
        client.post("/dashboard/gallery/delete", {"id": [delivered.pk]})
        delivered.refresh_from_db()
        assert delivered.erased_at is None


class TestTheLogAsCsv:
    def test_it_holds_what_the_filters_leave_with_texts_made_harmless(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        Generation.objects.filter(pk=delivered.pk).update(track_id="=1+1")
        for query, lines in (("endpoint=text", 2), ("endpoint=inpaint", 1)):
            answer = as_alice.get(f"/dashboard/requests.csv?{query}")
            text = b"".join(answer.streaming_content).decode()  # type: ignore[arg-type]
            assert text.count("\r\n") == lines, query
            assert ("'=1+1" in text) == (lines == 2)


class TestTheGallery:
    def test_pictures_show_with_prompt_and_seed(self, as_alice: Client, delivered: Generation) -> None:
        page = as_alice.get("/dashboard/gallery").content.decode()
        assert delivered.images[0]["key"] in page
        assert "seed 7" in page

    def test_the_chosen_come_as_a_zip(self, as_alice: Client, delivered: Generation) -> None:
        answer = as_alice.get(f"/dashboard/gallery.zip?id={delivered.pk}")
        archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[arg-type]
        assert archive.testzip() is None
        assert [name.endswith("-0.png") for name in archive.namelist()] == [True]

    def test_nobody_zips_a_stranger_s_pictures(self, client: Client, delivered: Generation, charlie: Member) -> None:
        client.force_login(charlie.user)
        assert client.get(f"/dashboard/gallery.zip?id={delivered.pk}").status_code == 404


def test_the_overview_shows_the_picture_and_what_is_left(as_alice: Client, delivered: Generation) -> None:
    page = as_alice.get("/dashboard").content.decode()
    assert delivered.images[0]["key"] in page
    assert ">99<" in page.replace("\n", "")


def test_the_page_that_waits_is_told_to_stop_when_the_picture_is_there(as_alice: Client, alice: Member) -> None:
    assert as_alice.get("/dashboard/get-started/first-picture").status_code == 200
    delivered = deliver(as_alice)
    answer = as_alice.get("/dashboard/get-started/first-picture")
    assert answer.status_code == 286
    assert delivered.images[0]["key"] in answer.content.decode()


def test_the_framed_page_may_be_framed_by_us_alone(as_alice: Client) -> None:
    answer = as_alice.get("/dashboard/get-started/first-picture-page")
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert as_alice.get("/dashboard").headers["X-Frame-Options"] == "DENY"
