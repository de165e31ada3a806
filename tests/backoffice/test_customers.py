"""Customers: found by whatever is at hand, and changed only through services, with a reason that is kept."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.errors import AccountSuspended, KeyRevoked
from accounts.models import ApiKey
from accounts.staff import StaffRole
from billing.entitlements import terms_of
from billing.models import LedgerEntry
from gateway.audit import audit
from gateway.caching import caches_clear
from gateway.models import StaffAction
from tests.backoffice.conftest import AsStaff
from tests.backoffice.test_home import paid_call
from tests.conftest import Member
from tests.support.money import fund, move_to, wallet_of
from tests.support.orders import caller_of, place


def url(member: Member, action: str = "") -> str:
    return f"/console/customers/{member.account.pk}" + (f"/{action}" if action else "")


class TestList:
    @pytest.mark.parametrize("what", ["name", "email", "number", "key"])
    def test_it_finds_by_what_support_is_told(
        self, as_owner: Client, alice: Member, charlie: Member, what: str
    ) -> None:
        key = ApiKey.objects.get(pk=alice.key_id)
        asked = {"name": "alic", "email": "alice@ex", "number": str(alice.account.pk), "key": key.display}[what]
        rows = as_owner.get("/console/customers", {"q": asked}).context["rows"]
        assert [account.pk for account, _ in rows] == [alice.account.pk]

    def test_it_filters_and_sorts_by_the_address(self, as_owner: Client, alice: Member, charlie: Member) -> None:
        fund(charlie.account, 5_000_000)
        rows = as_owner.get("/console/customers?sort=balance").context["rows"]
        assert [account.pk for account, _ in rows] == [charlie.account.pk, alice.account.pk]
        assert len(as_owner.get("/console/customers?plan=payg").context["rows"]) == 1
        assert as_owner.get("/console/customers?state=suspended").context["rows"] == []

    def test_its_queries_do_not_grow_with_the_customers(self, as_owner: Client, alice: Member, charlie: Member) -> None:
        paid_call(alice)
        with CaptureQueriesContext(connection) as asked:
            as_owner.get("/console/customers")
        assert len(asked) <= 8

    def test_a_plan_is_shown_by_its_name(self, as_owner: Client, alice: Member) -> None:
        move_to(alice.account, "payg")
        assert '<td data-label="Plan">Pay as you go</td>' in as_owner.get("/console/customers").content.decode()


class TestPage:
    def test_it_shows_the_account_and_no_key_in_full(self, as_owner: Client, alice: Member, bob: Member) -> None:
        paid_call(alice)
        page = as_owner.get(url(alice)).content.decode()
        assert "bob@example.org" in page
        assert alice.key not in page
        with CaptureQueriesContext(connection) as asked:
            as_owner.get(url(alice))
        assert len(asked) <= 24

    def test_its_sessions_are_shown_to_those_who_may_end_them(self, as_staff: AsStaff, bob: Member) -> None:
        UserSession.objects.create(user=bob.user, session_key="s1", ip="203.0.113.9", user_agent="Firefox", data={})
        assert "203.0.113.9" in as_staff(StaffRole.SUPPORT).get(url(bob)).content.decode()
        assert "203.0.113.9" not in as_staff(StaffRole.BILLING).get(url(bob)).content.decode()

    def test_an_unknown_account_is_not_found(self, as_owner: Client) -> None:
        assert as_owner.get("/console/customers/99").status_code == 404
        assert as_owner.get(f"/console/customers/{2**70}").status_code == 404


class TestActions:
    def test_funds_are_granted_once_per_form_with_who_and_why(self, as_owner: Client, alice: Member) -> None:
        form = {"grant-amount": "12.50", "grant-reason": "broken pictures", "grant-nonce": "n1"}
        for _ in range(2):
            assert as_owner.post(url(alice, "grant"), form).status_code == 302
        entry = LedgerEntry.objects.get()
        assert (entry.amount_microusd, entry.note) == (12_500_000, "broken pictures")
        assert entry.made_by is not None
        action = StaffAction.objects.get()
        assert (action.before, action.after) == ({"balance_microusd": 0}, {"balance_microusd": 12_500_000})
        assert [finding for finding in audit() if not finding.passed] == []

    @pytest.mark.parametrize(
        "form",
        [
            {"grant-amount": "10"},
            {"grant-amount": "-5", "grant-reason": "a gift"},
            {"grant-amount": "1e3x", "grant-reason": "a gift"},
            {"grant-amount": "10000.01", "grant-reason": "a gift"},
        ],
    )
    def test_a_grant_without_a_reason_or_a_sound_amount_is_refused(
        self, as_owner: Client, alice: Member, form: dict[str, str]
    ) -> None:
        answer = as_owner.post(url(alice, "grant"), {"grant-nonce": "n1", **form})
        assert answer.status_code == 400
        assert 'class="errors"' in answer.content.decode()
        assert (LedgerEntry.objects.count(), StaffAction.objects.count()) == (0, 0)

    def test_the_plan_is_changed_at_once(self, as_owner: Client, alice: Member) -> None:
        as_owner.post(url(alice, "plan"), {"plan-plan_code": "premium", "plan-reason": "sold by phone"})
        assert wallet_of(alice.account).plan_code == "premium"
        assert StaffAction.objects.get().before == {"plan": "free"}
        assert as_owner.post(url(alice, "plan"), {"plan-plan_code": "x", "plan-reason": "why"}).status_code == 400

    def test_the_metered_plan_asks_for_its_limit(self, as_owner: Client, alice: Member) -> None:
        asked = {"plan-plan_code": "metered", "plan-reason": "signed a contract"}
        assert "needs a limit" in as_owner.post(url(alice, "plan"), asked).content.decode()
        as_owner.post(url(alice, "plan"), asked | {"plan-limit": "250"})
        assert wallet_of(alice.account).postpaid_limit_microusd == 250_000_000
        assert StaffAction.objects.get().after == {"plan": "metered", "postpaid_limit_microusd": 250_000_000}

    def test_own_limits_replace_the_plans_and_go_back(self, as_owner: Client, alice: Member) -> None:
        plans = terms_of(alice.account.pk, now=timezone.now()).calls_per_minute
        as_owner.post(url(alice, "limits"), {"limits-calls_per_minute": "77", "limits-reason": "launch day"})
        assert terms_of(alice.account.pk, now=timezone.now()).calls_per_minute == 77
        as_owner.post(url(alice, "limits"), {"limits-reason": "the launch is over"})
        assert terms_of(alice.account.pk, now=timezone.now()).calls_per_minute == plans
        assert [row.after for row in StaffAction.objects.order_by("pk")] == [{"calls_per_minute": 77}, {}]

    def test_a_suspended_account_may_not_call_until_it_is_resumed(self, as_owner: Client, alice: Member) -> None:
        as_owner.post(url(alice, "suspend"), {"suspend-reason": "stolen card"})
        caches_clear()
        with pytest.raises(AccountSuspended, match="stolen card"):
            caller_of(alice)
        as_owner.post(url(alice, "resume"), {"resume-reason": "cleared up"})
        caches_clear()
        assert place(alice).created
        assert [row.action for row in StaffAction.objects.order_by("pk")] == ["suspend", "resume"]

    def test_a_key_is_revoked_but_no_strangers(self, as_owner: Client, alice: Member, charlie: Member) -> None:
        form = {"key-reason": "found on a pastebin"}
        assert as_owner.post(url(charlie, f"keys/{alice.key_id}/revoke"), form).status_code == 404
        assert as_owner.post(url(alice, f"keys/{alice.key_id}/revoke"), form).status_code == 302
        caches_clear()
        with pytest.raises(KeyRevoked):
            caller_of(alice)
        assert StaffAction.objects.get().reason == "found on a pastebin"

    def test_an_address_is_confirmed_for_whom_the_mail_never_reached(self, as_owner: Client, alice: Member) -> None:
        address = EmailAddress.objects.create(user=alice.user, email=alice.user.email, primary=True)
        page = as_owner.get(url(alice)).content.decode()
        assert "Unconfirmed" in page
        form = {"confirm-email": address.email, "confirm-reason": "called us"}
        assert "is confirmed." in as_owner.post(url(alice, "confirm"), form, follow=True).content.decode()
        address.refresh_from_db()
        assert address.verified
        action = StaffAction.objects.get()
        assert (action.action, action.after) == ("confirm address", {"user": alice.user.pk, "confirmed": True})
        assert "confirmed already" in as_owner.post(url(alice, "confirm"), form, follow=True).content.decode()
        assert StaffAction.objects.count() == 1

    def test_no_strangers_address_is_confirmed(self, as_owner: Client, alice: Member, charlie: Member) -> None:
        address = EmailAddress.objects.create(user=alice.user, email=alice.user.email, primary=True)
        form = {"confirm-email": address.email, "confirm-reason": "called us"}
        assert as_owner.post(url(charlie, "confirm"), form).status_code == 400
        address.refresh_from_db()
        assert not address.verified

    @pytest.mark.parametrize("role", list(StaffRole))
    def test_everybody_of_the_staff_notes_what_the_others_should_know(
        self, as_staff: AsStaff, alice: Member, role: StaffRole
    ) -> None:
        as_staff(role).post(url(alice, "note"), {"note-reason": "pays by invoice from January on"})
        page = as_staff(StaffRole.SUPPORT).get(url(alice)).content.decode()
        assert "pays by invoice from January on" in page
        assert f"{role}@operator.example" in page
        assert "Nothing was done." in page

    def test_an_empty_note_is_refused(self, as_owner: Client, alice: Member) -> None:
        assert as_owner.post(url(alice, "note"), {"note-reason": " "}).status_code == 400
        assert not StaffAction.objects.exists()

    def test_every_session_of_every_member_ends(
        self, as_owner: Client, client: Client, alice: Member, bob: Member
    ) -> None:
        client.force_login(bob.user)
        UserSession.objects.create(
            user=bob.user, session_key=client.session.session_key, ip="127.0.0.1", user_agent="", data={}
        )
        assert client.get("/dashboard").status_code == 200
        as_owner.post(url(alice, "sign-out"), {"sign_out-reason": "lost laptop"})
        assert client.get("/dashboard").status_code == 302
        assert as_owner.get("/console").status_code == 200
        assert StaffAction.objects.get().before == {"sessions": 1}
