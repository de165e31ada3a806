"""Links that strangers may open until they are revoked, and collections of pictures."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.events import events_of
from accounts.models import Account, Membership, Role, User
from gateway.models import Collection, CollectionItem, SharedLink
from gateway.services.closing import account_close
from gateway.services.gallery import COLLECTIONS_MAX
from inference.models import Generation, GenerationState
from inference.storage import get_storage
from tests.conftest import Member
from tests.site.test_log_and_gallery import deliver

JSON = {"accept": "application/json"}


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.fixture
def delivered(as_alice: Client) -> Generation:
    return deliver(as_alice)


def share(client: Client, generation: Generation) -> str:
    """The path of the new link."""
    answer = client.post(f"/dashboard/requests/{generation.pk}/share", headers=JSON)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["url"]).removeprefix("http://testserver")


class TestSharing:
    def test_a_stranger_sees_pictures_and_settings_and_no_address_of_the_store(
        self, as_alice: Client, delivered: Generation, alice: Member
    ) -> None:
        path = share(as_alice, delivered)
        answer = Client().get(path)
        page = answer.content.decode()
        assert answer.status_code == 200
        assert "a red circle &lt;b&gt;" in page
        for secret in (delivered.images[0]["key"], alice.user.email, alice.account.name, "order-1", alice.key):
            assert secret not in page
        assert "<h1>Shared picture</h1>" in page
        assert "noindex" in answer.headers["X-Robots-Tag"]
        picture = Client().get(f"{path}/0")
        assert picture.headers["Content-Type"] == "image/png"
        data = b"".join(picture.streaming_content)  # type: ignore[arg-type]
        assert data == get_storage().read(delivered.images[0]["key"])

    def test_the_settings_lead_to_the_playground_without_what_was_brought(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        Generation.objects.filter(pk=delivered.pk).update(
            asked=delivered.asked | {"webhook": "https://example.com/hook", "seed": 7}
        )
        page = Client().get(share(as_alice, delivered)).content.decode()
        link = re.search(r'href="/models/local/demo\?([^"]+)#playground"', page)
        assert link is not None
        assert "seed=7" in link[1]
        assert "webhook" not in link[1]

    def test_a_second_wish_finds_the_same_link(self, as_alice: Client, delivered: Generation) -> None:
        assert share(as_alice, delivered) == share(as_alice, delivered)
        assert SharedLink.objects.count() == 1

    def test_revoked_it_shows_nothing_and_a_new_one_is_another(
        self, as_alice: Client, delivered: Generation, alice: Member
    ) -> None:
        path = share(as_alice, delivered)
        link = SharedLink.objects.get()
        assert as_alice.post(f"/dashboard/shares/{link.pk}/revoke").status_code == 302
        for gone in (path, f"{path}/0"):
            assert Client().get(gone).status_code == 404
        assert share(as_alice, delivered) != path
        told = [event.action for event in events_of(alice.account)]
        assert told[:3] == ["shared the call", "revoked the link to the call", "shared the call"]

    def test_nothing_is_seen_of_deleted_pictures_nor_of_a_suspended_account(
        self, as_alice: Client, delivered: Generation, alice: Member
    ) -> None:
        path, other = share(as_alice, delivered), share(as_alice, deliver(as_alice))
        as_alice.post(f"/dashboard/requests/{delivered.pk}/delete")
        assert Client().get(path).status_code == 404
        assert Client().get(other).status_code == 200
        Account.objects.filter(pk=alice.account.pk).update(suspended_at=timezone.now())
        assert Client().get(other).status_code == 404

    def test_only_delivered_pictures_are_shared(self, as_alice: Client, delivered: Generation) -> None:
        Generation.objects.filter(pk=delivered.pk).update(state=GenerationState.FAILED)
        answer = as_alice.post(f"/dashboard/requests/{delivered.pk}/share", headers=JSON)
        assert answer.status_code == 409
        assert not SharedLink.objects.exists()

    def test_the_log_shows_the_link_and_the_list_holds_it(self, as_alice: Client, delivered: Generation) -> None:
        answer = as_alice.post(f"/dashboard/requests/{delivered.pk}/share")
        assert answer.headers["Location"] == f"/dashboard/requests/{delivered.pk}"
        url = f"http://testserver/s/{SharedLink.objects.get().token}"
        for page in (f"/dashboard/requests/{delivered.pk}", "/dashboard/shares"):
            assert url in as_alice.get(page).content.decode()
        assert "Nothing is shared" not in as_alice.get("/dashboard/shares").content.decode()

    def test_strangers_and_viewers_share_and_revoke_nothing(
        self, client: Client, as_alice: Client, delivered: Generation, charlie: Member, alice: Member
    ) -> None:
        share(as_alice, delivered)
        link = SharedLink.objects.get()
        viewer = User.objects.create_user("vera@example.org")
        Membership.objects.create(account=alice.account, user=viewer, role=Role.VIEWER)
        for who, status in ((charlie.user, 404), (viewer, 403)):
            client.force_login(who)
            assert client.post(f"/dashboard/requests/{delivered.pk}/share").status_code == status
            client.post(f"/dashboard/shares/{link.pk}/revoke")
        link.refresh_from_db()
        assert link.revoked_at is None


def test_a_script_deletes_a_call_and_is_answered_in_json(as_alice: Client, delivered: Generation) -> None:
    answer = as_alice.post(f"/dashboard/requests/{delivered.pk}/delete", headers=JSON)
    assert answer.json() == {"status": "success", "deleted": True}
    delivered.refresh_from_db()
    assert delivered.erased_at is not None


def test_a_finished_call_leads_back_to_the_playground(as_alice: Client, delivered: Generation) -> None:
    page = as_alice.get(f"/dashboard/requests/{delivered.pk}").content.decode()
    assert f'href="/models/local/demo?job={delivered.pk}#playground"' in page


class TestCollections:
    def test_favourites_are_turned_on_and_off(self, as_alice: Client, delivered: Generation) -> None:
        for pressed in ("true", "false"):
            as_alice.post("/dashboard/gallery/favourite", {"favourite": delivered.pk})
            page = as_alice.get("/dashboard/gallery").content.decode()
            assert re.search(rf'value="{delivered.pk}" formaction="[^"]+" aria-pressed="{pressed}"', page)

    def test_chosen_calls_are_put_in_shown_alone_and_taken_out(self, as_alice: Client, delivered: Generation) -> None:
        other = deliver(as_alice)
        answer = as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": " Circles  red "})
        found = Collection.objects.get()
        assert (found.name, answer.headers["Location"]) == ("Circles red", f"/dashboard/gallery?collection={found.pk}")
        page = as_alice.get(f"/dashboard/gallery?collection={found.pk}").content.decode()
        assert (f'name="id" value="{delivered.pk}"' in page, f'name="id" value="{other.pk}"' in page) == (True, False)
        as_alice.post(f"/dashboard/gallery/collections/{found.pk}/take-out", {"id": [delivered.pk]})
        assert not CollectionItem.objects.exists()

    def test_a_deleted_collection_leaves_its_pictures(self, as_alice: Client, delivered: Generation) -> None:
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        as_alice.post(f"/dashboard/gallery/collections/{Collection.objects.get().pk}/delete")
        assert not Collection.objects.exists()
        assert f'name="id" value="{delivered.pk}"' in as_alice.get("/dashboard/gallery").content.decode()

    def test_a_deleted_call_leaves_its_collections(self, as_alice: Client, delivered: Generation) -> None:
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        as_alice.post("/dashboard/gallery/delete", {"id": [delivered.pk]})
        assert not CollectionItem.objects.exists()

    def test_nobody_collects_a_stranger_s_calls_nor_into_a_stranger_s_collection(
        self, client: Client, as_alice: Client, delivered: Generation, charlie: Member
    ) -> None:
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        found = Collection.objects.get()
        client.force_login(charlie.user)
        client.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "Circles"})
        client.post(f"/dashboard/gallery/collections/{found.pk}/take-out", {"id": [delivered.pk]})
        client.post(f"/dashboard/gallery/collections/{found.pk}/delete")
        assert client.post("/dashboard/gallery/favourite", {"favourite": delivered.pk}).status_code == 404
        assert list(CollectionItem.objects.values_list("collection_id", "generation_id")) == [(found.pk, delivered.pk)]

    def test_there_is_a_most(self, as_alice: Client, alice: Member, delivered: Generation) -> None:
        now = timezone.now()
        Collection.objects.bulk_create(
            Collection(account_id=alice.account.pk, name=str(n), created_at=now) for n in range(COLLECTIONS_MAX)
        )
        as_alice.post("/dashboard/gallery/collect", {"id": [delivered.pk], "name": "One more"})
        assert Collection.objects.count() == COLLECTIONS_MAX
        assert f"There are {COLLECTIONS_MAX} collections" in as_alice.get("/dashboard/gallery").content.decode()

    def test_one_comes_back_to_the_view_one_was_in_and_nowhere_else(
        self, as_alice: Client, delivered: Generation
    ) -> None:
        for back, leads in (
            ("/dashboard/gallery?model=demo&page=2", "/dashboard/gallery?model=demo&page=2"),
            ("https://example.org/dashboard/gallery", "/dashboard/gallery"),
            ("//example.org/dashboard/gallery", "/dashboard/gallery"),
            ("/accounts/logout/", "/dashboard/gallery"),
        ):
            fields: dict[str, Any] = {"favourite": delivered.pk, "back": back}
            assert as_alice.post("/dashboard/gallery/favourite", fields).headers["Location"] == leads


class TestTheGallerysFilters:
    def test_each_keeps_what_fits(self, as_alice: Client, delivered: Generation) -> None:
        day = f"{delivered.created_at:%Y-%m-%d}"
        mark = f'name="id" value="{delivered.pk}"'
        for query, found in (
            (f"from={day}&to={day}", True),
            ("to=2020-01-01", False),
            ("from=2099-01-01", False),
            (f"key={delivered.key_id}", True),
            (f"key={delivered.key_id + 1}", False),
            ("size=256x256", True),
            ("size=512x256", False),
            ("q=order-1", True),
            ("q=order-2", False),
            ("model=demo", True),
            ("model=other", False),
            ("collection=999", False),
            ("size=0x0&key=x&from=nonsense&page=zz", True),
        ):
            assert (mark in as_alice.get(f"/dashboard/gallery?{query}").content.decode()) is found, query

    def test_an_empty_view_says_why(self, as_alice: Client, delivered: Generation) -> None:
        assert "No picture fits" in as_alice.get("/dashboard/gallery?q=nothing").content.decode()


def test_closing_an_account_leaves_no_link_and_no_collection(
    as_alice: Client, alice: Member, delivered: Generation
) -> None:
    path = share(as_alice, delivered)
    as_alice.post("/dashboard/gallery/favourite", {"favourite": delivered.pk})
    account_close(account=alice.account, now=timezone.now())
    assert Client().get(path).status_code == 404
    assert not SharedLink.objects.exists()
    assert not CollectionItem.objects.exists()
