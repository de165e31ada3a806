"""Acting for a customer is seen, bounded and recorded; an account's data is handed out whole, and erased for good."""

from __future__ import annotations

import io
import zipfile

from django.test import Client

from accounts.models import Account, ApiKey, User
from accounts.staff import StaffRole, staff_roles_set
from gateway.audit import audit
from gateway.models import StaffAction
from tests.backoffice.conftest import AsStaff, staff_member
from tests.backoffice.test_home import paid_call
from tests.conftest import Member


def url(member: Member, action: str) -> str:
    return f"/console/customers/{member.account.pk}/{action}"


class TestActing:
    def test_it_shows_the_customers_pages_under_a_banner_until_it_is_stopped(
        self, as_staff: AsStaff, alice: Member
    ) -> None:
        support = as_staff(StaffRole.SUPPORT)
        assert support.post(url(alice, "act"), {}).status_code == 400
        assert support.post(url(alice, "act"), {"act-reason": "ticket 12"}).status_code == 302
        page = support.get("/dashboard/keys").content.decode()
        assert "You act for" in page
        assert ApiKey.objects.get(pk=alice.key_id).display in page
        support.post("/console/act/stop")
        assert "You act for" not in support.get("/dashboard", follow=True).content.decode()
        done = list(StaffAction.objects.order_by("pk").values_list("action", "reason"))
        assert done == [("begin acting as customer", "ticket 12"), ("stop acting as customer", "")]

    def test_what_is_asked_meanwhile_is_recorded_and_money_is_out_of_reach(
        self, as_staff: AsStaff, alice: Member
    ) -> None:
        support = as_staff(StaffRole.SUPPORT)
        support.post(url(alice, "act"), {"act-reason": "ticket 12"})
        support.post(f"/dashboard/keys/{alice.key_id}/revoke", {})
        asked, changed = StaffAction.objects.order_by("pk")[1:]
        assert asked.after == {"asked": f"POST /dashboard/keys/{alice.key_id}/revoke"}
        name = f"key {alice.key_id} revoked_at"
        assert (changed.action, changed.before) == ("changed as customer", {name: None})
        assert changed.after == asked.after | {name: ApiKey.objects.get(pk=alice.key_id).revoked_at.isoformat()}
        assert ApiKey.objects.get(pk=alice.key_id).digest not in str(StaffAction.objects.values())
        assert support.post("/dashboard/billing/funds", {"amount": "10"}).status_code == 403

    def test_it_ends_with_the_part(self, as_staff: AsStaff, alice: Member) -> None:
        support = as_staff(StaffRole.SUPPORT)
        support.post(url(alice, "act"), {"act-reason": "ticket 12"})
        staff_roles_set(user=staff_member(StaffRole.SUPPORT), roles=frozenset({StaffRole.BILLING}))
        assert "You act for" not in support.get("/dashboard", follow=True).content.decode()

    def test_a_customer_cannot_take_it_up(self, client: Client, alice: Member, charlie: Member) -> None:
        client.force_login(charlie.user)
        session = client.session
        session["acting_account_id"] = alice.account.pk
        session.save()
        page = client.get("/dashboard").content.decode()
        assert "You act for" not in page
        assert ApiKey.objects.get(pk=alice.key_id).display not in client.get("/dashboard/keys").content.decode()


class TestData:
    def test_it_is_handed_out_with_a_reason(self, as_owner: Client, alice: Member) -> None:
        assert as_owner.post(url(alice, "export"), {}).status_code == 400
        answer = as_owner.post(url(alice, "export"), {"export-reason": "asked by mail"})
        data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        assert "account.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()
        assert StaffAction.objects.get().reason == "asked by mail"

    def test_it_is_erased_only_by_number_and_the_books_stay_whole(
        self,
        as_owner: Client,
        payer: Member,
    ) -> None:
        paid_call(payer)
        wrong = {"erase-number": payer.account.pk + 1, "erase-reason": "asked by mail"}
        assert as_owner.post(url(payer, "erase"), wrong).status_code == 400
        assert User.objects.filter(pk=payer.user.pk).exists()
        as_owner.post(url(payer, "erase"), {**wrong, "erase-number": payer.account.pk})
        assert Account.objects.get(pk=payer.account.pk).name == f"Closed account {payer.account.pk}"
        assert StaffAction.objects.get().action == "erase account"
        assert [finding for finding in audit() if not finding.passed] == []
