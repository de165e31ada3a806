"""Every view of the console for a visitor, a customer and each part of the staff, from one table."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.staff import StaffRole, staff_roles_of, staff_roles_set
from gateway.backoffice.access import GRANTS, Permission
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.urls import urlpatterns
from gateway.models import StaffAction
from inference.models import RenderWorker
from tests.backoffice.conftest import AsStaff, staff_member
from tests.conftest import Member
from tests.support.orders import place

# What each view asks for, written down a second time on purpose: a slip in a decorator must show here.
LOOK, MONEY, CUSTOMERS, FUNDS, MACHINES, CATALOGUE, PRICES, RECORDS, HOUSE, ERASE = Permission
NEEDS = {
    "home": LOOK,
    "usage": LOOK,
    "usage_csv": LOOK,
    "customers": LOOK,
    "customer": LOOK,
    "customer_grant": FUNDS,
    "customer_correct": FUNDS,
    "customer_refund": FUNDS,
    "customer_plan": FUNDS,
    "customer_limits": FUNDS,
    "customer_suspend": CUSTOMERS,
    "customer_resume": CUSTOMERS,
    "customer_confirm": CUSTOMERS,
    "customer_note": LOOK,
    "customer_sign_out": CUSTOMERS,
    "customer_key_revoke": CUSTOMERS,
    "customer_price": PRICES,
    "customer_act": CUSTOMERS,
    "customer_export": CUSTOMERS,
    "customer_erase": ERASE,
    "act_stop": CUSTOMERS,
    "requests": LOOK,
    "requests_csv": LOOK,
    "request": LOOK,
    "webhooks": LOOK,
    "workers": LOOK,
    "worker": LOOK,
    "worker_log": MACHINES,
    "worker_command": MACHINES,
    "worker_forget": MACHINES,
    "queue": LOOK,
    "queue_act": MACHINES,
    "models": LOOK,
    "model_publish": CATALOGUE,
    "example_add": CATALOGUE,
    "example_remove": CATALOGUE,
    "model_edit": CATALOGUE,
    "imports": CATALOGUE,
    "imports_table": CATALOGUE,
    "import_again": CATALOGUE,
    "price": PRICES,
    "revenue": MONEY,
    "revenue_csv": MONEY,
    "money": MONEY,
    "audit_prove": MONEY,
    "payments": MONEY,
    "events_retry": FUNDS,
    "exports_retry": FUNDS,
    "announcements": HOUSE,
    "announcement_stop": HOUSE,
    "settings": HOUSE,
    "feature_switch": HOUSE,
    "records": RECORDS,
    "staff": RECORDS,
}
POSTED = {name for name in NEEDS if name.startswith("customer_")} | {
    "act_stop",
    "worker_command",
    "worker_forget",
    "queue_act",
    "model_publish",
    "example_add",
    "example_remove",
    "audit_prove",
    "events_retry",
    "exports_retry",
    "import_again",
    "announcement_stop",
    "feature_switch",
}


def address(name: str, member: Member, generation_id: int) -> str:
    RenderWorker.objects.get_or_create(name="gpu-2", defaults={"last_seen_at": timezone.now()})
    arguments = {
        "request": {"generation_id": generation_id},
        "worker": {"name": "gpu-2"},
        "worker_log": {"name": "gpu-2"},
        "worker_command": {"name": "gpu-1", "command": "drain"},
        "worker_forget": {"name": "gpu-2"},
        "revenue_csv": {"table": "months"},
        "feature_switch": {"name": "sharing", "to": "off"},
        "model_publish": {"model_id": "demo"},
        "example_add": {"model_id": "demo"},
        "example_remove": {"model_id": "demo"},
        "model_edit": {"model_id": "demo"},
        "import_again": {"import_id": 1},
        "price": {"price_code": "sd15"},
        "announcement_stop": {"announcement_id": 1},
    }.get(name, {"account_id": member.account.pk} if name.startswith("customer") and name != "customers" else {})
    if name == "customer_key_revoke":
        arguments["key_id"] = member.key_id
    if name == "customer_refund":
        arguments["top_up_id"] = 1
    return reverse(f"backoffice:{name}", kwargs=arguments)


def ask(client: Client, name: str, url: str) -> int:
    return (client.post(url) if name in POSTED else client.get(url)).status_code


def test_every_view_of_the_console_is_in_the_table() -> None:
    assert {pattern.name: pattern.callback.needs for pattern in urlpatterns} == NEEDS


class TestEveryView:
    """Who may not enter changes nothing, so all addresses are asked in one go; who may has a fresh service for each."""

    @pytest.fixture
    def generation_id(self, alice: Member) -> int:
        return place(alice).generation.pk

    def test_a_visitor_is_sent_to_the_log_in_page(
        self, client: Client, alice: Member, generation_id: int, subtests: pytest.Subtests
    ) -> None:
        for name in NEEDS:
            with subtests.test(name):
                url = address(name, alice, generation_id)
                answer = client.post(url) if name in POSTED else client.get(url)
                assert answer.status_code == 302
                assert answer.headers["Location"].startswith("/accounts/login/")

    def test_a_customer_finds_nothing(
        self, client: Client, alice: Member, generation_id: int, subtests: pytest.Subtests
    ) -> None:
        client.force_login(alice.user)
        for name in NEEDS:
            with subtests.test(name):
                assert ask(client, name, address(name, alice, generation_id)) == 404
                assert not StaffAction.objects.exists()

    def test_a_person_marked_as_staff_without_any_part_finds_nothing(
        self, client: Client, alice: Member, generation_id: int, subtests: pytest.Subtests
    ) -> None:
        client.force_login(User.objects.create_user("new@operator.example", "x", is_staff=True))
        for name in NEEDS:
            with subtests.test(name):
                assert ask(client, name, address(name, alice, generation_id)) == 404

    @pytest.mark.parametrize("role", StaffRole)
    @pytest.mark.parametrize("name", NEEDS)
    def test_each_part_gets_what_its_permissions_say(
        self, as_staff: AsStaff, alice: Member, generation_id: int, name: str, role: StaffRole
    ) -> None:
        status = ask(as_staff(role), name, address(name, alice, generation_id))
        if NEEDS[name] not in GRANTS[role]:
            assert status == 403
            assert not StaffAction.objects.exists()
        else:
            # An empty form is refused as a form (400), an unknown worker is not found; neither is a refusal of access.
            assert status in ((302, 400, 404) if name in POSTED else (200,))

    def test_it_demands_a_second_factor_where_the_setting_says_so(
        self, as_staff: AsStaff, alice: Member, generation_id: int, subtests: pytest.Subtests, settings
    ) -> None:
        settings.STAFF_SECOND_FACTOR = True
        client = as_staff(StaffRole.OWNER)
        for name in NEEDS:
            with subtests.test(name):
                assert ask(client, name, address(name, alice, generation_id)) == 403
                assert not StaffAction.objects.exists()


def test_an_owner_with_a_second_factor_gets_in(as_owner: Client, settings) -> None:
    settings.STAFF_SECOND_FACTOR = True
    owner = staff_member(StaffRole.OWNER)
    Authenticator.objects.create(user=owner, type=Authenticator.Type.TOTP, data={"secret": "x"})
    assert as_owner.get("/console").status_code == 200


def test_pages_of_the_console_are_stored_by_nobody_and_carry_no_inline_style(as_owner: Client, alice: Member) -> None:
    for name in sorted(set(NEEDS) - POSTED - {"usage_csv", "requests_csv"}):
        answer = as_owner.get(
            address(name, alice, place(alice).generation.pk) if name == "request" else address(name, alice, 1)
        )
        assert "no-store" in answer.headers["Cache-Control"], name
        assert " style=" not in answer.content.decode(), name


class TestParts:
    def test_a_superuser_is_an_owner_and_an_inactive_person_nothing(self, db: None) -> None:
        boss = User.objects.create_superuser("boss@operator.example", "x")
        assert staff_roles_of(boss) == {StaffRole.OWNER}
        boss.is_active = False
        assert staff_roles_of(boss) == frozenset()

    def test_taking_every_part_ends_being_staff(self, db: None) -> None:
        person = staff_member(StaffRole.SUPPORT)
        staff_roles_set(user=person, roles=frozenset())
        assert (person.is_staff, staff_roles_of(person)) == (False, frozenset())

    def test_an_owner_gives_parts_and_it_is_recorded(self, as_owner: Client, alice: Member) -> None:
        form = {"email": alice.user.email, "roles": ["support"], "reason": "new colleague"}
        assert as_owner.post("/console/staff", form).status_code == 302
        alice.user.refresh_from_db()
        assert staff_roles_of(alice.user) == {StaffRole.SUPPORT}
        action = StaffAction.objects.get()
        assert (action.before, action.after, action.reason) == ({"roles": []}, {"roles": ["support"]}, "new colleague")

    def test_the_last_owner_stays_one(self, as_owner: Client) -> None:
        owner = staff_member(StaffRole.OWNER)
        answer = as_owner.post("/console/staff", {"email": owner.email, "roles": [], "reason": "good bye"})
        assert "Somebody must stay an owner" in answer.content.decode()
        assert staff_roles_of(owner) == {StaffRole.OWNER}
        assert not StaffAction.objects.exists()


class TestTheRecord:
    @pytest.fixture
    def action(self, db: None) -> StaffAction:
        return staff_action_record(
            by=staff_member(StaffRole.OWNER), action="test", target="account:1", now=timezone.now()
        )

    def test_no_code_changes_or_deletes_a_line(self, action: StaffAction) -> None:
        with pytest.raises(TypeError):
            StaffAction.objects.update(reason="x")
        with pytest.raises(TypeError):
            StaffAction.objects.all().delete()
        with pytest.raises(TypeError):
            action.delete()

    def test_the_database_refuses_as_well(self, action: StaffAction) -> None:
        action.reason = "something else"
        with pytest.raises(DatabaseError), transaction.atomic():
            action.save()
        assert StaffAction.objects.get().reason == ""

    def test_it_is_read_in_keyset_pages_by_target(self, as_owner: Client, action: StaffAction) -> None:
        page = as_owner.get("/console/staff-actions?target=account:1").content.decode()
        assert "account:1" in page
        assert "Nothing was done." in as_owner.get("/console/staff-actions?target=account:2").content.decode()
        assert "Nothing was done." in as_owner.get(f"/console/staff-actions?before={action.pk}").content.decode()
