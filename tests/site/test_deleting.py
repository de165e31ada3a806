"""Deleted on the site: hidden from everybody at once, brought back as it was within a week, gone for good after it."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Membership, Role, User
from billing.models import LedgerEntry, UsageBucket
from gateway.models import CollectionItem, DeletedCall, SharedLink, WebhookDelivery
from gateway.periodic import retention
from gateway.services import deleting
from gateway.services.closing import account_close
from gateway.services.deleting import PUT_AWAY_WITHIN, call_delete, call_restore, deleted_due, deleted_sweep
from gateway.services.retention import retention_sweep
from gateway.tasks import retention_run
from inference.models import Generation
from inference.storage import get_storage
from tests.conftest import Member
from tests.site.test_log_and_gallery import deliver

WEEK = timedelta(days=7)


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.fixture
def delivered(as_alice: Client) -> Generation:
    return deliver(as_alice)


def delete(client: Client, *calls: Generation) -> str:
    """The page that follows."""
    answer = client.post("/dashboard/gallery/delete", {"id": [call.pk for call in calls]}, follow=True)
    return str(answer.content.decode())


def stored(*calls: Generation) -> set[str]:
    """The files of these calls, wherever in the store they stand."""
    root = get_storage().root  # type: ignore[attr-defined]
    return {str(path.relative_to(root)) for call in calls for path in root.rglob(f"*{call.token}*")}


def status(path: str) -> int:
    """What a stranger is answered."""
    answer = Client().get(path)
    answer.close()
    return int(answer.status_code)


def whole(call: Generation) -> dict[str, object]:
    return Generation.objects.filter(pk=call.pk).values().get()


class TestDeleted:
    def test_nothing_shows_it_any_more(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        address = f"/media/{delivered.images[0]['key']}"
        link = as_alice.post(f"/dashboard/requests/{delivered.pk}/share", headers={"accept": "application/json"})
        shared = link.json()["url"].removeprefix("http://testserver")
        assert {status(page) for page in (address, shared, f"{shared}/0")} == {200}
        delete(as_alice, delivered)
        assert {status(page) for page in (address, shared, f"{shared}/0")} == {404}
        reply = Client().post(f"/api/v7/images/fetch/{delivered.pk}", {"key": alice.key}).json()
        assert (reply["status"], reply["output"], reply["meta"]["prompt"]) == ("success", [], "")
        for page in ("", "/gallery", "/requests", "/shares", f"/requests/{delivered.pk}", "/webhooks"):
            words = as_alice.get(f"/dashboard{page}").content.decode()
            assert "a red circle" not in words, page
            assert delivered.images[0]["key"] not in words, page
        assert as_alice.get(f"/dashboard/gallery.zip?id={delivered.pk}").status_code == 404

    def test_the_overview_says_so_where_its_prompt_stood(self, as_alice: Client, delivered: Generation) -> None:
        cell = '<td class="sentence" data-label="Prompt">'
        assert f"{cell}a red circle" in as_alice.get("/dashboard").content.decode()
        delete(as_alice, delivered)
        assert f'{cell}<span class="dim">Deleted</span>' in as_alice.get("/dashboard").content.decode()

    def test_members_alone_see_it_among_the_deleted(
        self, as_alice: Client, delivered: Generation, charlie: Member
    ) -> None:
        data = get_storage().read(delivered.images[0]["key"])
        delete(as_alice, delivered)
        page = as_alice.get("/dashboard/gallery/deleted").content.decode()
        path = f"/dashboard/gallery/deleted/{delivered.pk}/0"
        for words in ("a red circle &lt;b&gt;", path, f"{timezone.now() + WEEK:%Y-%m-%d}"):
            assert words in page
        picture = as_alice.get(path)
        assert b"".join(picture.streaming_content) == data  # type: ignore[attr-defined]
        assert picture.headers["Cache-Control"] == "private, no-store"
        for missing in (f"/dashboard/gallery/deleted/{delivered.pk}/1", f"/dashboard/gallery/deleted/{2**70}/0"):
            assert as_alice.get(missing).status_code == 404
        as_alice.force_login(charlie.user)
        assert as_alice.get(path).status_code == 404
        assert "Nothing was deleted lately" in as_alice.get("/dashboard/gallery/deleted").content.decode()

    def test_money_and_counts_stay(self, as_alice: Client, delivered: Generation) -> None:
        before = list(UsageBucket.objects.values()), list(LedgerEntry.objects.values())
        counted = delivered.images_delivered, delivered.charged_microusd
        delete(as_alice, delivered)
        assert (list(UsageBucket.objects.values()), list(LedgerEntry.objects.values())) == before
        delivered.refresh_from_db()
        assert (delivered.images_delivered, delivered.charged_microusd) == counted

    def test_its_file_waits_under_a_name_that_nobody_knows(self, as_alice: Client, delivered: Generation) -> None:
        delete(as_alice, delivered)
        (name,) = stored(delivered)
        assert re.fullmatch(rf"deleted/[0-9a-f]{{32}}-{delivered.token}-0\.png", name)
        assert status(f"/media/{name}") == 404

    def test_all_data_taken_along_holds_it(self, as_alice: Client, delivered: Generation) -> None:
        delete(as_alice, delivered)
        data = b"".join(as_alice.post("/dashboard/profile/export").streaming_content)  # type: ignore[attr-defined]
        archive = zipfile.ZipFile(io.BytesIO(data))
        assert b"a red circle" in archive.read("deleted.jsonl")
        assert f"pictures/{delivered.token}-0.png" in archive.namelist()


class TestBroughtBack:
    def test_undo_brings_all_of_it_back(self, as_alice: Client, delivered: Generation) -> None:
        other = deliver(as_alice)
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        as_alice.post(f"/dashboard/requests/{delivered.pk}/share")
        before, files = [whole(delivered), whole(other)], stored(delivered, other)
        page = delete(as_alice, delivered, other)
        assert "2 calls are deleted. 2 pictures went with it." in page
        form = page[page.index('action="/dashboard/gallery/restore"') :]
        ids = re.findall(r'name="id" value="(\d+)"', form[: form.index("</form>")])
        assert sorted(ids) == sorted([str(delivered.pk), str(other.pk)])
        answer = as_alice.post("/dashboard/gallery/restore", {"id": ids}, follow=True)
        assert "2 calls are back." in answer.content.decode()
        assert ([whole(delivered), whole(other)], stored(delivered, other)) == (before, files)
        assert CollectionItem.objects.get().generation_id == delivered.pk
        assert status(f"/s/{SharedLink.objects.get().token}/0") == 200
        assert not DeletedCall.objects.exists()

    def test_one_call_by_its_own_page_and_by_a_script(self, as_alice: Client, delivered: Generation) -> None:
        before = whole(delivered)
        page = f"/dashboard/requests/{delivered.pk}"
        told = as_alice.post(f"{page}/delete", follow=True).content.decode()
        assert "This call is deleted." in told
        assert "Bring it back" in told
        answer = as_alice.post("/dashboard/gallery/restore", {"id": delivered.pk, "back": page})
        assert answer.headers["Location"] == page
        as_alice.post(f"{page}/delete", headers={"accept": "application/json"})
        assert as_alice.post(f"{page}/restore").json() == {"status": "success", "restored": True}
        assert as_alice.post(f"{page}/restore").status_code == 409
        assert whole(delivered) == before

    def test_a_collection_that_is_gone_stays_gone(self, as_alice: Client, delivered: Generation) -> None:
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        collection_id = CollectionItem.objects.get().collection_id
        delete(as_alice, delivered)
        as_alice.post(f"/dashboard/gallery/collections/{collection_id}/delete")
        as_alice.post("/dashboard/gallery/restore", {"id": delivered.pk})
        assert delivered.images[0]["key"] in as_alice.get("/dashboard/gallery").content.decode()
        assert not CollectionItem.objects.exists()

    def test_strangers_and_viewers_neither_bring_back_nor_remove(
        self, as_alice: Client, alice: Member, delivered: Generation, charlie: Member
    ) -> None:
        delete(as_alice, delivered)
        viewer = User.objects.create_user("vera@example.org")
        Membership.objects.create(account=alice.account, user=viewer, role=Role.VIEWER)
        for who in (charlie.user, viewer):
            as_alice.force_login(who)
            for act in ("restore", "remove"):
                as_alice.post(f"/dashboard/gallery/{act}", {"id": delivered.pk})
            as_alice.post(f"/dashboard/requests/{delivered.pk}/restore")
        assert DeletedCall.objects.get().generation_id == delivered.pk

    def test_a_message_about_it_is_sent_no_more(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        now = timezone.now()
        WebhookDelivery.objects.create(
            message_id="m", account_id=alice.account.pk, generation_id=delivered.pk, created_at=now, next_attempt_at=now
        )
        delete(as_alice, delivered)
        assert not WebhookDelivery.objects.exists()


class TestGoneForGood:
    def test_after_a_week_by_the_run_of_the_retention(self, as_alice: Client, delivered: Generation) -> None:
        other = deliver(as_alice)
        delete(as_alice, delivered)
        now = timezone.now()
        assert not deleted_due(now + WEEK - timedelta(minutes=1))
        assert deleted_sweep(now=now + WEEK - timedelta(minutes=1)) == 0
        assert deleted_due(now + WEEK)
        assert [deleted_sweep(now=now + WEEK), deleted_sweep(now=now + WEEK)] == [1, 0]
        assert (len(stored(delivered)), len(stored(other))) == (0, 1)
        assert not DeletedCall.objects.exists()
        assert not call_restore(account_id=delivered.account_id, generation_id=delivered.pk, now=now)
        assert not deleted_due(now + WEEK)

    def test_the_run_is_set_off_and_takes_it(self, as_alice: Client, delivered: Generation) -> None:
        delete(as_alice, delivered)
        DeletedCall.objects.update(remove_at=timezone.now())
        asked: list[bool] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retention_run, "delay", lambda: asked.append(True))
            retention(timezone.now())
        assert asked == [True]
        retention_run()
        assert not DeletedCall.objects.exists()

    def test_at_once_where_it_is_asked_for(self, as_alice: Client, delivered: Generation) -> None:
        delete(as_alice, delivered)
        page = as_alice.post("/dashboard/gallery/remove", {"id": delivered.pk}, follow=True).content.decode()
        assert "The call is gone for good." in page
        assert not stored(delivered)
        assert not DeletedCall.objects.exists()

    def test_deleting_over_the_api_is_final(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        delete(as_alice, delivered)
        Client().post(f"/api/v7/images/delete/{delivered.pk}", {"key": alice.key})
        assert not DeletedCall.objects.exists()
        assert not stored(delivered)

    def test_a_run_is_bounded(self, as_alice: Client, delivered: Generation) -> None:
        delete(as_alice, delivered, deliver(as_alice), deliver(as_alice))
        later = timezone.now() + WEEK
        assert [deleted_sweep(now=later, limit=2) for _ in range(3)] == [2, 1, 0]

    @pytest.mark.parametrize(("days", "kept"), [(3, timedelta(days=3)), (0, timedelta(hours=1))])
    def test_never_later_than_the_account_keeps_it(
        self, as_alice: Client, delivered: Generation, days: int, kept: timedelta
    ) -> None:
        Account.objects.update(retention_days=days)
        delete(as_alice, delivered)
        assert DeletedCall.objects.get().remove_at == delivered.created_at + kept

    def test_what_was_over_its_time_anyway_does_not_wait(self, as_alice: Client, delivered: Generation) -> None:
        now = timezone.now()
        assert call_delete(generation=delivered, kept_until=now, now=now)
        assert not DeletedCall.objects.exists()
        assert not stored(delivered)

    def test_the_end_of_the_account_s_days_does_not_wait_for_the_week(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        delete(as_alice, delivered)
        Account.objects.update(retention_days=1)
        assert retention_sweep(now=timezone.now() + timedelta(days=2)) == 1
        assert not DeletedCall.objects.exists()
        assert not stored(delivered)

    def test_nor_does_the_end_of_the_account(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        delete(as_alice, delivered)
        account_close(account=alice.account, now=timezone.now())
        assert retention_sweep(now=timezone.now() + timedelta(seconds=1)) == 1
        assert not DeletedCall.objects.exists()
        assert not stored(delivered)


class Killed(BaseException):
    """The process ends here."""


class TestAProcessThatDies:
    def test_while_it_puts_away_leaves_what_the_sweep_ends(
        self, as_alice: Client, delivered: Generation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        with monkeypatch.context() as patch:
            patch.setattr(deleting, "files_put_away", dies)
            with pytest.raises(Killed):
                call_delete(generation=delivered, kept_until=now + WEEK, now=now)
        who = {"account_id": delivered.account_id, "generation_id": delivered.pk}
        assert not call_restore(**who, now=now)
        assert not deleted_due(now)
        assert deleted_due(now + PUT_AWAY_WITHIN)
        deleted_sweep(now=now + PUT_AWAY_WITHIN)
        assert not get_storage().exists(delivered.images[0]["key"])
        assert call_restore(**who, now=now + PUT_AWAY_WITHIN)
        assert get_storage().exists(delivered.images[0]["key"])

    def test_while_it_brings_back_leaves_what_can_be_tried_again(
        self, as_alice: Client, delivered: Generation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = whole(delivered)
        delete(as_alice, delivered)
        who = {"account_id": delivered.account_id, "generation_id": delivered.pk, "now": timezone.now()}
        with monkeypatch.context() as patch:
            patch.setattr(deleting.Collection.objects, "filter", dies)
            with pytest.raises(Killed):
                call_restore(**who)
        assert whole(delivered)["erased_at"] is not None
        assert call_restore(**who)
        assert whole(delivered) == before
        assert get_storage().exists(delivered.images[0]["key"])

    def test_while_it_removes_leaves_what_the_next_run_ends(
        self, as_alice: Client, delivered: Generation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delete(as_alice, delivered)
        later = timezone.now() + WEEK
        with monkeypatch.context() as patch:
            patch.setattr(deleting, "files_delete", dies)
            with pytest.raises(Killed):
                deleted_sweep(now=later)
        assert deleted_sweep(now=later) == 1
        assert not stored(delivered)

    def test_removed_while_it_is_brought_back_it_stays_removed(
        self, as_alice: Client, delivered: Generation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delete(as_alice, delivered)
        who = {"account_id": delivered.account_id, "generation_id": delivered.pk, "now": timezone.now()}
        moves = type(get_storage()).move

        def overtaken(storage: object, key: str, to: str) -> None:
            moves(storage, key, to)  # type: ignore[arg-type]
            deleting.call_remove(**who)

        with monkeypatch.context() as patch:
            patch.setattr(type(get_storage()), "move", overtaken)
            assert not call_restore(**who)
        assert whole(delivered)["erased_at"] is not None
        assert not stored(delivered)


def dies(*args: object, **values: object) -> None:
    raise Killed
