"""The team's pages: what each part may do on the server, whatever its page shows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import Account, AccountEvent, Invitation, Membership, Role, User
from gateway.dashboard import urls
from tests.conftest import Member

E = frozenset(Role)
OWNERS = frozenset({Role.OWNER})
MAKERS = frozenset({Role.OWNER, Role.DEVELOPER})
PAYERS = frozenset({Role.OWNER, Role.BILLING})
PERSON = "person"  # pages of the person, not of an account in use
# Every address of the dashboard: who may look, who may act. None: that method does not exist there.
ACCESS: dict[str, tuple[object, object]] = {
    "home": (E, None),
    "get_started": (PERSON, None),
    "first_picture": (E, None),
    "first_picture_page": (E, None),
    "keys": (E, None),
    "key_new": (MAKERS, MAKERS),
    "key_edit": (MAKERS, MAKERS),
    "key_roll": (MAKERS, MAKERS),
    "key_revoke": (MAKERS, MAKERS),
    "usage": (E, None),
    "usage_csv": (E, None),
    "requests": (E, None),
    "request": (E, None),
    "request_cancel": (None, MAKERS),
    "gallery": (E, None),
    "gallery_zip": (E, E),
    "gallery_delete": (None, MAKERS),
    "gallery_favourite": (None, MAKERS),
    "gallery_collect": (None, MAKERS),
    "take_out": (None, MAKERS),
    "collection_delete": (None, MAKERS),
    "deleted": (E, None),
    "deleted_picture": (E, None),
    "restore": (None, MAKERS),
    "remove": (None, MAKERS),
    "request_restore": (None, MAKERS),
    "shares": (E, None),
    "share": (None, MAKERS),
    "share_revoke": (None, MAKERS),
    "checklist_hide": (None, MAKERS),
    "usage_focus": (E, None),
    "request_csv": (E, None),
    "request_delete": (None, MAKERS),
    "webhooks": (E, None),
    "webhook": (E, None),
    "webhook_resend": (None, MAKERS),
    "webhook_test": (None, MAKERS),
    "webhook_rotate": (None, MAKERS),
    "webhook_resume": (None, MAKERS),
    "team": (E, None),
    "invite": (None, OWNERS),
    "invitation_withdraw": (None, OWNERS),
    "member_change": (None, OWNERS),
    "member_end": (None, E),
    "events": (OWNERS, None),
    "join": (PERSON, PERSON),
    "account_new": (None, PERSON),
    "profile": (E, None),
    "account_save": (None, OWNERS),
    "person_save": (None, E),
    "export": (None, OWNERS),
    "close": (OWNERS, OWNERS),
    "leave": (PERSON, PERSON),
    "account_choose": (None, E),
}
SOMEBODY_ELSE_TESTS = (
    "billing",
    "funds",
    "plan",
    "subscribe",
    "recharge",
    "spend",
    "invoices",
    "ledger",
    "statement",
    "receipt",
)
NUMBERS = {
    **dict.fromkeys(("key_id", "generation_id", "delivery_id", "invitation_id", "member_id"), 1),
    **dict.fromkeys(("link_id", "collection_id", "index"), 1),
    "token": "x" * 40,
}


def address_of(name: str) -> str:
    for pattern in urls.urlpatterns:
        if pattern.name == name:
            wanted = pattern.pattern.converters
            return reverse(f"dashboard:{name}", kwargs={key: NUMBERS[key] for key in wanted})
    raise LookupError(name)


def test_every_address_has_a_rule() -> None:
    # The link that stops mails carries its own proof and asks for no log-in.
    names = {str(pattern.name) for pattern in urls.urlpatterns} - {"unsubscribe"}
    money = {name for name in names if name.startswith(SOMEBODY_ELSE_TESTS)}
    assert names - money == set(ACCESS)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", [name for name, rule in ACCESS.items() if PERSON not in rule])
def test_each_part_gets_its_own_and_no_more(client: Client, bob: Member, name: str, role: Role) -> None:
    Membership.objects.filter(user=bob.user).update(role=role)
    client.force_login(bob.user)
    for method, allowed in zip((client.get, client.post), ACCESS[name], strict=True):
        status = method(address_of(name)).status_code
        if allowed is None:
            assert status in (403, 405)
        elif role in allowed:  # type: ignore[operator]
            assert status not in (403, 405), (name, role)
        else:
            assert status == 403, (name, role)


def test_a_visitor_is_sent_to_log_in(client: Client, catalogue: None, subtests: pytest.Subtests) -> None:
    for name, rule in ACCESS.items():
        with subtests.test(name):
            for method, allowed in zip((client.get, client.post), rule, strict=True):
                if allowed is not None:
                    assert "/accounts/login/" in method(address_of(name)).headers["Location"]


class TestInviting:
    def test_who_is_invited_shows_on_the_page(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        client.post("/dashboard/team/invite", {"email": "dora@example.org", "role": "developer"})
        assert "dora@example.org" in client.get("/dashboard/team").content.decode()

    def test_the_link_of_the_mail_joins_the_right_person(
        self, client: Client, alice: Member, django_capture_on_commit_callbacks: Any
    ) -> None:
        client.force_login(alice.user)
        with django_capture_on_commit_callbacks(execute=True):
            client.post("/dashboard/team/invite", {"email": "dora@example.org", "role": "developer"})
        (message,) = mail.outbox
        assert message.to == ["dora@example.org"]
        link = re.search(r"/dashboard/team/join/[\w-]+", str(message.body))
        assert link is not None
        dora = Client()
        dora.force_login(User.objects.create_user("dora@example.org", "correct horse battery"))
        assert "invites you as Developer" in dora.get(link[0]).content.decode()
        assert not Membership.objects.filter(user__email="dora@example.org").exists()
        assert dora.post(link[0]).headers["Location"] == "/dashboard"
        assert Membership.objects.get(user__email="dora@example.org").role == Role.DEVELOPER
        assert alice.account.name in dora.get("/dashboard/team").content.decode()
        assert dora.get(link[0]).status_code == 404

    def test_a_bad_address_is_told_beside_the_field(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        answer = client.post("/dashboard/team/invite", {"email": "nobody", "role": "developer"})
        assert answer.status_code == 400
        assert "id_email_error" in answer.content.decode()
        assert not Invitation.objects.exists()


class TestLeaving:
    def test_a_member_leaves_by_himself_and_ends_nobody_else(self, client: Client, alice: Member, bob: Member) -> None:
        client.force_login(bob.user)
        own, other = Membership.objects.get(user=bob.user), Membership.objects.get(user=alice.user)
        assert client.post(f"/dashboard/team/members/{other.pk}/end").status_code == 404
        client.post(f"/dashboard/team/members/{own.pk}/end")
        assert list(Membership.objects.values_list("user__email", flat=True)) == ["alice@example.org"]
        assert client.get("/dashboard/keys").headers["Location"] == "/dashboard/get-started"

    def test_a_removed_member_sees_nothing_at_the_next_click(self, client: Client, alice: Member, bob: Member) -> None:
        client.force_login(bob.user)
        assert client.get("/dashboard/keys").status_code == 200
        Membership.objects.filter(user=bob.user).delete()
        assert client.get("/dashboard/keys").status_code == 302


class TestOwnAccount:
    def test_who_came_by_an_invitation_opens_one_and_only_one(self, client: Client, bob: Member) -> None:
        client.force_login(bob.user)
        for _ in range(2):
            client.post("/dashboard/accounts/new")
        assert Membership.objects.filter(user=bob.user, role=Role.OWNER).count() == 1
        assert Account.objects.count() == 2


def test_a_log_in_stands_in_the_record(client: Client, alice: Member) -> None:
    from allauth.account.models import EmailAddress

    EmailAddress.objects.create(user=alice.user, email=alice.user.email, verified=True, primary=True)
    client.post("/accounts/login/", {"login": alice.user.email, "password": "correct horse battery"})
    event = AccountEvent.objects.get(action="logged in")
    assert (event.account, event.actor, event.address) == (alice.account, alice.user, "127.0.0.1")
    assert "logged in" in client.get("/dashboard/team/events").content.decode()


@pytest.mark.parametrize(("language", "words"), [("en", "Developer"), ("de", "Entwickler")])
def test_the_record_names_roles_as_other_pages_do(client: Client, alice: Member, language: str, words: str) -> None:
    client.force_login(alice.user)
    client.post("/dashboard/team/invite", {"email": "erin@example.org", "role": "developer"})
    assert AccountEvent.objects.get(action="invited").target == "erin@example.org: developer"
    page = client.get("/dashboard/team/events", headers={"accept-language": language}).content.decode()
    assert f"erin@example.org: {words}<" in page


def test_sessions_name_the_browser_and_keep_what_it_said(client: Client, alice: Member) -> None:
    from allauth.account.models import EmailAddress

    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    EmailAddress.objects.create(user=alice.user, email=alice.user.email, verified=True, primary=True)
    form = {"login": alice.user.email, "password": "correct horse battery"}
    client.post("/accounts/login/", form, headers={"user-agent": agent})
    page = client.get("/accounts/sessions/", headers={"user-agent": agent}).content.decode()
    summary = re.search(r"<summary>(.*?)</summary>", page, re.DOTALL)
    assert summary is not None
    assert "Firefox on Linux" in summary[1]
    assert "This one" in summary[1]
    assert f'<code class="small break">{agent}</code>' in page
