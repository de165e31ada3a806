"""Pictures at their promised addresses: nothing before they stand, nothing after they died, and nothing else ever."""

from __future__ import annotations

import pytest
import time_machine
from django.test import RequestFactory
from django.utils import timezone
from django.utils.log import log_response

from gateway.media import media
from inference.storage import get_storage, output_key

NOW_S = 1_795_000_000
PNG = bytes(range(256)) * 40
KEY = "generations/abc-0.png"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}/media")
    with time_machine.travel(NOW_S, tick=False):
        yield get_storage()


def get(key, *, method="GET", **headers):
    response = media(RequestFactory().generic(method, f"/media/{key}", headers=headers), key)
    response.body = b"".join(response.streaming_content) if response.streaming else response.content
    for close in response._resource_closers:  # response.close() would end a request, and with it a connection
        close()
    return response


class TestBeforeAndAfter:
    def test_a_future_link_is_404_until_the_file_stands_and_that_is_not_cached(self, store):
        early = get(KEY)
        assert (early.status_code, early["Cache-Control"]) == (404, "no-store")
        store.write(KEY, PNG, "image/png")
        found = get(KEY)
        assert (found.status_code, found.body, found["Content-Type"]) == (200, PNG, "image/png")

    def test_looking_for_an_unfinished_file_is_not_worth_a_line_in_the_log(self, store, caplog):
        response = get(KEY)
        log_response("Not Found: %s", KEY, response=response)
        assert (response["Content-Length"], caplog.records) == (str(len(response.body)), [])

    def test_a_temporary_link_dies_at_its_hour_although_the_file_still_stands(self, store):
        key = output_key(token="abc", index=0, expires_epoch_s=NOW_S + 86_400)
        store.write(key, PNG, "image/png")
        with time_machine.travel(NOW_S + 86_399, tick=False):
            last = get(key)
            assert (last.status_code, last["Cache-Control"]) == (200, "public, max-age=1, immutable")
        with time_machine.travel(NOW_S + 86_400, tick=False):
            dead = get(key)
            assert (dead.status_code, dead["Cache-Control"]) == (410, "no-store")
            store.sweep(timezone.now())
            assert not store.exists(key)
            assert get(key).status_code == 410

    def test_a_temporary_name_without_a_time_is_dead(self, store):
        store.write("temp/forever.png", PNG, "image/png")
        assert get("temp/forever.png").status_code == 410


class TestWhatIsServed:
    @pytest.mark.parametrize(
        "key",
        [
            "../settings.py",
            "generations/../../x",
            "generations/",
            "generations",
            "",
            ".unfinished/abc",
            "generations/.x",
        ],
    )
    def test_nothing_outside_the_store_and_no_folder(self, store, key):
        store.write(KEY, PNG, "image/png")
        assert get(key).status_code == 404

    def test_inputs_are_private(self, store):
        store.write("inputs/abc.png", PNG, "image/png")
        assert get("inputs/abc.png").status_code == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    def test_only_reading_is_allowed(self, store, method):
        response = get(KEY, method=method)
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


class TestHeaders:
    def test_the_bytes_have_no_rights_here(self, store):
        store.write(KEY, b"<script>alert(1)</script>", "image/png")
        response = get(KEY)
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert response["Content-Disposition"] == 'inline; filename="abc-0.png"'

    def test_what_a_browser_should_not_open_is_saved(self, store):
        store.write("generations/abc-0.html", b"<script>", "text/html")
        response = get("generations/abc-0.html")
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Content-Disposition"].startswith("attachment")

    def test_kept_pictures_may_be_cached_for_a_year(self, store):
        store.write(KEY, PNG, "image/png")
        assert get(KEY)["Cache-Control"] == "public, max-age=31536000, immutable"

    def test_head_tells_the_size_without_the_bytes(self, store):
        store.write(KEY, PNG, "image/png")
        response = get(KEY, method="HEAD")
        assert (response.status_code, response["Content-Length"], response.body) == (200, str(len(PNG)), b"")

    def test_a_known_picture_is_not_sent_again(self, store):
        store.write(KEY, PNG, "image/png")
        known = get(KEY)["Last-Modified"]
        response = get(KEY, if_modified_since=known)
        assert (response.status_code, response.body) == (304, b"")


class TestRanges:
    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [("bytes=0-99", 0, 99), ("bytes=100-", 100, 10239), ("bytes=-10", 10230, 10239), ("bytes=5-99999", 5, 10239)],
    )
    def test_a_part_is_a_part(self, store, asked, first, last):
        store.write(KEY, PNG, "image/png")
        response = get(KEY, range=asked)
        assert (response.status_code, response.body) == (206, PNG[first : last + 1])
        assert response["Content-Range"] == f"bytes {first}-{last}/10240"

    @pytest.mark.parametrize("asked", ["bytes=20000-", "bytes=50-10", "bytes=-0"])
    def test_a_part_outside_the_file_is_refused(self, store, asked):
        store.write(KEY, PNG, "image/png")
        response = get(KEY, range=asked)
        assert (response.status_code, response["Content-Range"]) == (416, "bytes */10240")

    @pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=-", "lines=1-2", "nonsense", "bytes=1" + "0" * 30 + "-"])
    def test_what_is_not_understood_gets_the_whole_file(self, store, asked):
        store.write(KEY, PNG, "image/png")
        response = get(KEY, range=asked)
        assert (response.status_code, response.body) == (200, PNG)


class Elsewhere:
    """A store that clients reach by themselves."""

    def presign(self, key, *, expires_s):
        return f"https://store.example/{key}?expires={expires_s}"

    def exists(self, key):
        return key == KEY


class TestAStoreElsewhere:
    def test_our_address_leads_there_once_the_file_stands(self, monkeypatch):
        monkeypatch.setattr("gateway.media.get_storage", Elsewhere)
        response = get(KEY)
        assert (response.status_code, response["Cache-Control"]) == (302, "no-store")
        assert response["Location"] == f"https://store.example/{KEY}?expires=3600"
        assert get("generations/none-0.png").status_code == 404

    def test_a_link_into_the_store_lives_no_longer_than_the_picture(self, monkeypatch):
        monkeypatch.setattr("gateway.media.get_storage", Elsewhere)
        monkeypatch.setattr(Elsewhere, "exists", lambda self, key: True)
        response = get(output_key(token="abc", index=0, expires_epoch_s=NOW_S + 30))
        assert response["Location"].endswith("?expires=30")
