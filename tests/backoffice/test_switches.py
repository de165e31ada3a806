"""Features that the operator switches off: what stops, what goes on, and that it is recorded."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.staff import StaffRole
from gateway.caching import caches_clear
from gateway.errors import CallsPaused
from gateway.models import Feature, FeatureOff, Revision, StaffAction
from gateway.services.gallery import GalleryProblem, link_make, link_opened
from inference.models import Generation
from tests.backoffice.conftest import AsStaff
from tests.conftest import Member
from tests.support.orders import delivered, place


@pytest.fixture
def as_operations(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.OPERATIONS)


def switch(client: Client, feature: Feature, to: str, reason: str = "we look into it") -> str:
    answer = client.post(f"/console/settings/{feature.value}/{to}", {"reason": reason}, follow=True)
    caches_clear()
    return answer.content.decode()


def test_it_is_shown_with_who_and_why_recorded_once_and_undone(as_operations: Client) -> None:
    before = Revision.objects.get().number
    for _ in range(2):
        page = switch(as_operations, Feature.SHARING, "off")
    assert "operations@operator.example: we look into it" in page
    assert Revision.objects.get().number > before
    assert "Switched off: Shared links" in as_operations.get("/console").content.decode()
    action = StaffAction.objects.get()
    assert (action.action, action.target) == ("switch off", "feature:sharing")
    assert (action.before, action.after, action.reason) == ({"on": True}, {"on": False}, "we look into it")
    switch(as_operations, Feature.SHARING, "on")
    assert not FeatureOff.objects.exists()
    assert StaffAction.objects.latest("id").action == "switch on"
    assert "Switched off" not in as_operations.get("/console").content.decode()


def test_without_a_reason_nothing_changes(as_operations: Client) -> None:
    assert "say why" in switch(as_operations, Feature.CALLS, "off", reason="")
    assert not FeatureOff.objects.exists()
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("path", ["gallery/off", "calls/maybe"])
def test_what_there_is_not_is_not_found(as_operations: Client, path: str) -> None:
    assert as_operations.post(f"/console/settings/{path}", {"reason": "a test"}).status_code == 404


def test_paused_calls_are_refused_before_anything_is_written(as_operations: Client, alice: Member) -> None:
    switch(as_operations, Feature.CALLS, "off")
    with pytest.raises(CallsPaused):
        place(alice)
    asked = {"key": alice.key, "prompt": "a red circle"}
    answer = Client().post("/api/v6/images/text2img", asked, content_type="application/json")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "calls_paused", "60")
    assert not Generation.objects.exists()
    switch(as_operations, Feature.CALLS, "on")
    assert place(alice).created


def test_nobody_new_signs_up(as_operations: Client, client: Client) -> None:
    form = {"email": "new@example.org", "password1": "an old sentence"}
    switch(as_operations, Feature.SIGNUP, "off")
    assert "closed" in client.post("/accounts/signup/", form, follow=True).content.decode().lower()
    switch(as_operations, Feature.SIGNUP, "on")
    assert client.post("/accounts/signup/", form).status_code == 302


def test_payments_are_not_begun(as_operations: Client, client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    switch(as_operations, Feature.PAYMENTS, "off")
    for path, form in (("funds", {"amount": "25", "nonce": "n"}), ("subscribe", {"plan": "standard"})):
        page = client.post(f"/dashboard/billing/{path}", form, follow=True).content.decode()
        assert "Payments are paused by the operator" in page


def test_shared_links_open_for_nobody_until_they_do_again(as_operations: Client, alice: Member) -> None:
    from django.utils import timezone

    from gateway.services import generation_settle

    call = place(alice).generation
    generation_settle(generation_id=call.pk, result=delivered(call), now=timezone.now())
    call.refresh_from_db()
    link = link_make(account=alice.account, generation=call, by=alice.user, now=timezone.now())
    switch(as_operations, Feature.SHARING, "off")
    assert link_opened(link.token) is None
    with pytest.raises(GalleryProblem):
        link_make(account=alice.account, generation=call, by=alice.user, now=timezone.now())
    switch(as_operations, Feature.SHARING, "on")
    assert link_opened(link.token) == call
