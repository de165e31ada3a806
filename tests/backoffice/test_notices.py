"""What is told to everybody, what was refused, and what the service answers about itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.staff import StaffRole
from billing.models import EventState, Mode, Price, StripeEvent
from billing.pricing import price_in_force
from gateway import announcements, periodic, refusals
from gateway.backoffice import selfcheck
from gateway.dispatcher import leadership_take
from gateway.models import Announcement, AuditRun, RefusalBucket, StaffAction
from gateway.tasks import books_prove
from inference.services import worker_seen
from tests.backoffice.conftest import AsStaff
from tests.backoffice.test_home import paid_call
from tests.conftest import Member


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    announcements._in_force.clear()


class TestAnnouncements:
    def test_it_stands_over_customers_and_visitors_pages_until_it_is_ended(
        self, as_owner: Client, client: Client, alice: Member
    ) -> None:
        asked = {"text": "Maintenance <tonight> at 22:00 UTC.", "tone": "warn"}
        assert as_owner.post("/console/announcements", asked).status_code == 302
        customer = Client()
        customer.force_login(alice.user)
        for reader, path in ((client, "/"), (customer, "/dashboard"), (client, "/accounts/login/")):
            assert "Maintenance &lt;tonight&gt; at 22:00 UTC." in reader.get(path).content.decode(), path
        made = Announcement.objects.get()
        for _ in range(2):
            as_owner.post(f"/console/announcements/{made.pk}/end")
        assert "Maintenance" not in client.get("/").content.decode()
        assert [row.action for row in StaffAction.objects.order_by("pk")] == ["announce", "end announcement"]

    def test_one_of_tomorrow_is_not_shown_today(self, as_owner: Client, client: Client) -> None:
        as_owner.post("/console/announcements", {"text": "News", "tone": "info", "starts_at": "2999-01-01T00:00"})
        assert "News" not in client.get("/").content.decode()
        assert "To come" in as_owner.get("/console/announcements").content.decode()

    @pytest.mark.parametrize("change", [{"text": ""}, {"tone": "loud"}, {"ends_at": "2020-01-01T00:00"}])
    def test_a_faulty_one_is_not_made(self, as_owner: Client, change: dict[str, str]) -> None:
        as_owner.post("/console/announcements", {"text": "News", "tone": "info", **change})
        assert not Announcement.objects.exists()

    def test_pages_ask_for_it_once_in_a_while(self, client: Client, catalogue: None) -> None:
        client.get("/")
        Announcement.objects.create(
            text="Later", starts_at=timezone.now(), created_at=timezone.now(), made_by_id=_someone()
        )
        assert "Later" not in client.get("/").content.decode()


def _someone() -> int:
    from accounts.models import User

    return User.objects.create_user("someone@operator.example").pk


class TestRefusals:
    def test_a_refused_call_is_counted_by_its_reason_and_asks_nothing(self, client: Client, db: None) -> None:
        counting = refusals.refusals
        counting.flush()
        RefusalBucket.objects.all().delete()
        for _ in range(3):
            client.post("/api/v7/images/text-to-image", {"prompt": "x"}, content_type="application/json")
        assert not RefusalBucket.objects.exists()
        assert counting.flush() == 3
        client.post("/api/v7/images/text-to-image", {"prompt": "x"}, content_type="application/json")
        counting.flush()
        row = RefusalBucket.objects.get()
        assert (row.code, row.calls) == ("key_missing", 4)
        assert row.bucket.minute % 15 == 0

    def test_the_first_screen_shows_how_many_and_why(self, as_owner: Client) -> None:
        RefusalBucket.objects.create(bucket=timezone.now() - timedelta(minutes=1), code="rate_limited", calls=7)
        page = as_owner.get("/console").content.decode()
        assert "rate_limited" in page


class TestSelfCheck:
    @pytest.fixture
    def answers(self, as_owner: Client) -> dict[str, tuple[str, str]]:
        now = timezone.now()
        worker_seen(name="gpu-1", report={"state": "idle", "slots": 1}, now=now)
        assert leadership_take(holder="house:1", now=now)
        context = as_owner.get("/console/settings").context
        return {one.name: (one.tone, one.text) for one in context["checked"]}

    def test_every_part_answers(self, answers: dict[str, tuple[str, str]]) -> None:
        for name in ("Database", "Migrations", "Clock", "Picture storage", "Dispatcher", "Render workers", "Prices"):
            assert answers[name][0] == "ok", (name, answers[name])

    def test_secrets_are_only_said_to_be_there(self, as_owner: Client, settings) -> None:
        settings.STRIPE_API_KEY = "sk_test_very_secret"
        page = as_owner.get("/console/settings").content.decode()
        assert "sk_test_very_secret" not in page
        assert settings.SECRET_KEY not in page

    def test_what_is_missing_is_told(self, as_owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> None:
            raise OSError("disk full")

        monkeypatch.setattr(selfcheck, "get_storage", broken)
        Price.objects.filter(price_code="sd15").delete()
        answers = {one.name: one for one in as_owner.get("/console/settings").context["checked"]}
        assert (answers["Picture storage"].tone, answers["Picture storage"].text) == (
            "bad", "It did not answer: OSError.",
        )  # fmt: skip
        assert answers["Dispatcher"].tone == answers["Render workers"].tone == answers["Prices"].tone == "bad"
        assert "demo" in answers["Prices"].text

    def test_it_says_when_stripe_was_last_heard_of(self, settings, db: None) -> None:
        settings.BILLING_PROVIDER, settings.STRIPE_API_KEY = "stripe", "sk_test_x"
        now = timezone.now()
        assert selfcheck._webhook(now)[0] == "warn"
        event_of("evt_1", received_at=now - timedelta(minutes=3))
        assert selfcheck._webhook(now) == ("ok", "The newest was received 3 min ago.")
        assert selfcheck._webhook(now + timedelta(days=8))[0] == "warn"


def event_of(event_id: str, **changes: object) -> StripeEvent:
    now = timezone.now()
    row = {"mode": Mode.TEST, "type": "invoice.paid", "body": "{}", "created_at": now, "received_at": now}
    return StripeEvent.objects.create(event_id=event_id, **{**row, "next_attempt_at": now, **changes})


class TestPayments:
    @pytest.fixture
    def parked(self, settings) -> StripeEvent:
        settings.BILLING_PROVIDER, settings.STRIPE_API_KEY = "stripe", "sk_test_x"
        return event_of("evt_parked", state=EventState.PARKED, attempts=6, problem="PlanUnknown: no such plan")

    def test_parked_events_are_tried_again_with_a_reason_on_record(self, as_owner: Client, parked: StripeEvent) -> None:
        done = event_of("evt_done", state=EventState.DONE)
        assert "no such plan" in as_owner.get("/console/payments?state=parked").content.decode()
        as_owner.post("/console/payments/retry", {"id": [parked.pk, done.pk]})
        assert not StaffAction.objects.exists()
        as_owner.post("/console/payments/retry", {"id": [parked.pk, done.pk], "reason": "the plan exists now"})
        for event in (parked, done):
            event.refresh_from_db()
        assert (parked.state, parked.attempts, done.state) == (EventState.NEW, 0, EventState.DONE)
        action = StaffAction.objects.get()
        assert (action.target, action.before["problem"]) == ("event:evt_parked", "PlanUnknown: no such plan")

    def test_the_inbox_goes_back_in_pages_and_filters(
        self, as_owner: Client, parked: StripeEvent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.backoffice.payments.PER_PAGE", 1)
        event_of("evt_new")
        first = as_owner.get("/console/payments").context
        assert [event.event_id for event in first["events"]] == ["evt_new"]
        older = as_owner.get(f"/console/payments?before={first['next_before']}").context
        assert [event.event_id for event in older["events"]] == ["evt_parked"]
        assert as_owner.get("/console/payments?type=charge.refunded").context["events"] == []

    def test_support_sees_no_payments(self, as_staff: AsStaff, parked: StripeEvent) -> None:
        assert as_staff(StaffRole.SUPPORT).get("/console/payments").status_code == 403


def test_an_account_gets_a_price_of_its_own_from_now_on(
    as_owner: Client,
    payer: Member,
    charlie: Member,
) -> None:
    url = f"/console/customers/{payer.account.pk}/price"
    everyones = price_in_force(price_code="sd15", account_id=None, now=timezone.now())
    form = {"price-price_code": "sd15", "price-amount": "0.0011", "price-reason": "a large customer"}
    assert as_owner.post(url, {**form, "price-price_code": "none"}).status_code == 400
    assert as_owner.post(url, form).status_code == 302
    now = timezone.now()
    assert price_in_force(price_code="sd15", account_id=payer.account.pk, now=now) == 1100
    assert price_in_force(price_code="sd15", account_id=charlie.account.pk, now=now) == everyones
    action = StaffAction.objects.get()
    assert action.before == {"amount_microusd": everyones, "price_code": "sd15"}
    assert action.target == f"account:{payer.account.pk}"


class TestBooks:
    def test_they_are_proved_once_a_day_by_themselves(
        self,
        payer: Member,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        paid_call(payer)
        sent: list[int] = []
        monkeypatch.setattr("gateway.tasks.books_prove.delay", lambda: sent.append(1))
        periodic.books(timezone.now())
        for _ in range(2):
            books_prove()
        assert AuditRun.objects.get().differences == 0
        periodic.books(timezone.now())
        assert len(sent) == 1
        periodic.books(timezone.now() + timedelta(hours=25))
        assert len(sent) == 2


def test_the_clocks_are_compared_on_a_server(db: None) -> None:
    tone, text = selfcheck._clock(timezone.now())
    assert tone == "ok"
    assert ("apart" in text) == (connection.vendor == "postgresql")
