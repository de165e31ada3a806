"""The log, models and prices, money, and the invented month: read in keyset pages, changed only by dated facts."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, ApiKey
from billing.models import EntryKind, LedgerEntry, Plan, Price, RevenueMonth, Wallet
from billing.pricing import price_in_force
from billing.revenue import month_number
from billing.revenue_months import months_fold
from billing.usage_days import house_fold
from gateway.audit import audit
from gateway.backoffice import requests as log
from gateway.backoffice.catalogue import margins, preview
from gateway.models import AuditRun, RefusalBucket, StaffAction, WebhookDelivery, WebhookReceiver
from gateway.services import generation_settle
from gateway.templatetags.records import facts
from inference.models import Generation, GenerationState, ImageModel
from inference.services import worker_seen
from tests.backoffice.test_home import paid_call, report
from tests.conftest import Member
from tests.support.money import move_to
from tests.support.orders import failed, place


class TestLog:
    @pytest.fixture
    def calls(self, alice: Member, charlie: Member) -> list[Generation]:
        move_to(alice.account, "premium")
        made = [place(alice).generation for _ in range(3)] + [place(charlie).generation]
        generation_settle(generation_id=made[0].pk, result=failed(made[0]), now=timezone.now())
        return made

    def test_it_goes_back_by_the_last_id_seen(
        self, as_owner: Client, calls: list[Generation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "PER_PAGE", 3)
        context = as_owner.get("/console/requests").context
        assert [row.id for row in context["rows"]] == [one.pk for one in reversed(calls[1:])]
        older = as_owner.get(f"/console/requests?before={context['next_before']}").context
        assert ([row.id for row in older["rows"]], older["next_before"]) == ([calls[0].pk], None)

    def test_what_no_index_answers_is_searched_piece_by_piece(
        self, as_owner: Client, calls: list[Generation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "SCANNED_MAX", 2)
        first = as_owner.get("/console/requests?state=failed")
        assert (first.context["rows"], "Search further back" in first.content.decode()) == ([], True)
        older = as_owner.get(f"/console/requests?state=failed&before={first.context['next_before']}").context
        assert ([row.id for row in older["rows"]], older["next_before"]) == ([calls[0].pk], None)

    def test_a_large_account_is_searched_piece_by_piece_too(
        self, as_owner: Client, calls: list[Generation], alice: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "SCANNED_MAX", 1)
        path = f"/console/requests?state=failed&account={alice.account.pk}"
        first = as_owner.get(path).context
        assert (first["rows"], first["searched_only"], first["next_before"]) == ([], True, calls[1].pk)
        older = as_owner.get(f"{path}&before={first['next_before']}").context
        assert [row.id for row in older["rows"]] == [calls[0].pk]

    @pytest.mark.parametrize(
        ("query", "count"),
        [("state=failed", 1), ("error=out_of_memory", 1), ("model=demo", 4), ("worker=gpu-9", 0), ("state=odd", 4)],
    )
    def test_it_filters_by_the_address(self, as_owner: Client, calls: list[Generation], query: str, count: int) -> None:
        assert len(as_owner.get(f"/console/requests?{query}").context["rows"]) == count

    def test_it_says_whether_nothing_fits_or_nothing_came(self, as_owner: Client) -> None:
        assert "No call yet" in as_owner.get("/console/requests").content.decode()
        assert "No call fits" in as_owner.get("/console/requests?state=failed").content.decode()

    def test_it_filters_by_account_key_and_id(self, as_owner: Client, calls: list[Generation], charlie: Member) -> None:
        for query in (f"account={charlie.account.pk}", f"key={charlie.key_id}", f"q={calls[3].pk}"):
            rows = as_owner.get(f"/console/requests?{query}").context["rows"]
            assert [row.id for row in rows] == [calls[3].pk]

    def test_it_filters_by_time_payment_and_track(self, as_owner: Client, calls: list[Generation]) -> None:
        one = calls[2]
        Generation.objects.filter(pk=one.pk).update(funding="funds", track_id="order-7")
        for query in ("paid=funds", "track=order-7"):
            assert [row.id for row in as_owner.get(f"/console/requests?{query}").context["rows"]] == [one.pk]
        now = timezone.now().replace(tzinfo=None)
        early, late = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()
        for query, count in ((f"from={early}&to={late}", 4), (f"from={late}", 0), (f"to={early}", 0), ("from=x", 4)):
            assert len(as_owner.get(f"/console/requests?{query}").context["rows"]) == count

    def test_a_search_within_a_time_ends_where_the_time_does(
        self, as_owner: Client, calls: list[Generation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "SCANNED_MAX", 2)
        late = (timezone.now() + timedelta(hours=1)).replace(tzinfo=None).isoformat()
        assert as_owner.get(f"/console/requests?state=failed&from={late}").context["next_before"] is None

    def test_the_csv_has_what_the_filters_leave(
        self, as_owner: Client, calls: list[Generation], charlie: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lines(query: str) -> list[list[str]]:
            answer = as_owner.get(f"/console/requests.csv?{query}")
            return [line.split(",") for line in b"".join(answer.streaming_content).decode().splitlines()]

        head, *rows = lines("")
        assert head[:2] == ["account", "id"]
        assert [row[1] for row in rows] == [str(one.pk) for one in reversed(calls)]
        assert [row[:2] for row in lines(f"account={charlie.account.pk}")[1:]] == [
            [str(charlie.account.pk), str(calls[3].pk)]
        ]
        monkeypatch.setattr(log, "CSV_CALLS_MAX", 2)
        assert [row[1] for row in lines("")[1:]] == [str(one.pk) for one in calls[:1:-1]]

    def test_it_asks_few_queries_and_reads_no_bodies(self, as_owner: Client, calls: list[Generation]) -> None:
        with CaptureQueriesContext(connection) as asked:
            as_owner.get("/console/requests")
        assert len(asked) <= 6
        assert not any('"asked"' in query["sql"] for query in asked)

    def test_a_body_is_shown_only_where_the_account_keeps_it(
        self, as_owner: Client, calls: list[Generation], alice: Member
    ) -> None:
        url = f"/console/requests/{calls[0].pk}"
        page = as_owner.get(url).content.decode()
        assert "a red circle" in page
        assert "Too little memory." in page
        Account.objects.filter(pk=alice.account.pk).update(retention_days=0)
        assert "a red circle" not in as_owner.get(url).content.decode()


class TestModelsAndPrices:
    def test_a_models_margin_is_its_charges_less_its_measured_time(self, payer: Member) -> None:
        worker_seen(name="gpu-1", report=report(cost_microusd_per_hour=3_600_000), now=timezone.now())
        paid_call(payer)
        row = margins(timezone.now() + timedelta(seconds=1))[0][0]
        taken = -LedgerEntry.objects.get(kind=EntryKind.CAPTURE).amount_microusd
        assert (row.images, row.charged_microusd, row.gpu_microusd) == (1, taken, 900)
        assert row.margin_microusd == taken - 900

    def test_ten_thousand_models_are_shown_page_by_page_the_best_paid_first(
        self,
        as_owner: Client,
        payer: Member,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("gateway.backoffice.catalogue.PER_PAGE", 2)
        for name in ("a", "b", "c"):
            ImageModel.objects.create(model_id=name, name=name, family="sd15", source=name, price_code="sd15")
        paid_call(payer)
        first = as_owner.get("/console/models").context
        assert [row.model.model_id for row in first["margins"]] == ["demo", "a"]
        later = as_owner.get(f"/console/models?page={first['next_page']}").context
        assert ([row.model.model_id for row in later["margins"]], later["next_page"]) == (["b", "c"], None)
        found = as_owner.get("/console/models?q=B&page=x").context["margins"]
        assert [row.model.model_id for row in found] == ["b"]

    def test_hiding_a_model_needs_a_reason_and_is_recorded(self, as_owner: Client) -> None:
        as_owner.post("/console/models/demo/publish", {"published": "no"})
        assert ImageModel.objects.get(model_id="demo").published
        as_owner.post("/console/models/demo/publish", {"published": "no", "reason": "licence trouble"})
        assert not ImageModel.objects.get(model_id="demo").published
        assert StaffAction.objects.get().reason == "licence trouble"
        as_owner.post("/console/models/demo/publish", {"published": "yes", "reason": "settled"})
        assert ImageModel.objects.get(model_id="demo").published

    def test_a_price_is_first_shown_as_what_it_would_have_earned(
        self,
        as_owner: Client,
        payer: Member,
    ) -> None:
        paid_call(payer, samples=4)
        versions = Price.objects.count()
        shown = as_owner.post("/console/prices/sd15", {"amount": "0.01", "act": "preview"}).context["preview"]
        assert (shown.images, shown.would_microusd) == (4, 40_000)
        assert shown.charged_microusd == -LedgerEntry.objects.get(kind=EntryKind.CAPTURE).amount_microusd
        assert (Price.objects.count(), StaffAction.objects.count()) == (versions, 0)

    def test_it_is_not_set_without_a_reason(self, as_owner: Client) -> None:
        versions = Price.objects.count()
        refused = as_owner.post("/console/prices/sd15", {"amount": "0.01", "act": "set"})
        assert "reason" in refused.context["form"].errors
        assert refused.context["preview"].images == 0
        assert (Price.objects.count(), StaffAction.objects.count()) == (versions, 0)

    def test_accounts_with_a_price_of_their_own_are_left_out(self, payer: Member) -> None:
        paid_call(payer)
        Price.objects.create(price_code="sd15", account=payer.account, amount_microusd=1, effective_from=timezone.now())
        assert preview(price_code="sd15", amount_microusd=9, now=timezone.now()).images == 0

    def test_setting_it_makes_a_dated_version_and_edits_none(self, as_owner: Client) -> None:
        before = price_in_force(price_code="sd15", account_id=None, now=timezone.now())
        form = {"amount": "0.01", "reason": "dearer machines", "act": "set", "effective_from": "2099-01-01T00:00"}
        assert as_owner.post("/console/prices/sd15", form).status_code == 302
        assert price_in_force(price_code="sd15", account_id=None, now=timezone.now()) == before
        version = Price.objects.get(amount_microusd=10_000)
        assert (version.effective_from.year, version.note) == (2099, "dearer machines")
        assert StaffAction.objects.get().before == {"amount_microusd": before}
        again = as_owner.post("/console/prices/sd15", form)
        assert "There is a version of that moment already." in again.content.decode()

    @pytest.mark.parametrize("change", [{"effective_from": "2020-01-01T00:00"}, {"amount": "0"}, {"amount": "x"}])
    def test_a_price_of_the_past_or_of_nothing_is_refused(self, as_owner: Client, change: dict[str, str]) -> None:
        versions = Price.objects.count()
        as_owner.post("/console/prices/sd15", {"amount": "0.01", "reason": "why", "act": "set", **change})
        assert Price.objects.count() == versions


class TestWebhooks:
    def test_each_that_fails_leads_to_its_customer_and_its_call(self, as_owner: Client, alice: Member) -> None:
        now, origin = timezone.now(), "https://hooks.example"
        WebhookReceiver.objects.create(
            account_id=alice.account.pk, origin=origin, failures_in_row=3, failing_since=now - timedelta(hours=2)
        )
        call = place(alice).generation
        WebhookDelivery.objects.create(
            message_id="msg_1",
            account_id=alice.account.pk,
            generation_id=call.pk,
            event="generation.succeeded",
            url=origin,
            origin=origin,
            state="failed",
            created_at=now,
        )
        page = as_owner.get("/console/webhooks").content.decode()
        assert page.count(f'/console/customers/{alice.account.pk}">{alice.account.name}</a>') == 2
        assert f"/console/requests/{call.pk}" in page
        assert "2\N{NO-BREAK SPACE}h ago" in page


class TestRecords:
    def test_what_was_noted_is_told_in_words(self) -> None:
        noted = {
            "balance_microusd": 5_000_000,
            "refundable_cents": 250,
            "calls_per_minute": None,
            "published": True,
            "roles": ["owner", "support"],
            "effective_from": "2026-06-17T12:07:00+00:00",
            "reason": "asked by mail",
        }
        assert facts(noted) == [
            ("balance", "$5.00"),
            ("refundable", "$2.50"),
            ("calls per minute", "none"),
            ("published", "yes"),
            ("roles", "owner, support"),
            ("effective from", "17 June 2026, 12:07 UTC"),
            ("reason", "asked by mail"),
        ]

    def test_the_list_shows_them_and_filters_by_who(self, as_owner: Client, alice: Member) -> None:
        form = {"limits-free_calls_per_day": "100", "limits-reason": "asked by mail"}
        as_owner.post(f"/console/customers/{alice.account.pk}/limits", form)
        action = StaffAction.objects.get()
        page = as_owner.get(f"/console/staff-actions?who={action.actor_id}").content.decode()
        assert "free calls per day: 100" in page
        assert "Nothing was done." in as_owner.get("/console/staff-actions?who=999").content.decode()


class TestMoney:
    def test_the_ledger_leaves_captures_out_until_they_are_asked_for(
        self,
        as_owner: Client,
        payer: Member,
    ) -> None:
        paid_call(payer)
        kinds = [entry.kind for entry in as_owner.get("/console/money").context["entries"]]
        assert kinds == ["grant"]
        assert len(as_owner.get("/console/money?kind=all").context["entries"]) == 2
        with CaptureQueriesContext(connection) as asked:
            as_owner.get(f"/console/money?kind=capture&account={payer.account.pk}")
        assert len(asked) <= 11

    def test_the_books_are_proved_on_demand_and_the_result_is_kept(
        self,
        as_owner: Client,
        payer: Member,
    ) -> None:
        paid_call(payer)
        as_owner.post("/console/money/prove")
        assert AuditRun.objects.get().differences == 0
        Wallet.objects.filter(pk=payer.account.pk).update(balance_microusd=99_000_000)
        as_owner.post("/console/money/prove")
        page = as_owner.get("/console/money").content.decode()
        assert "1 differences" in page
        assert "every balance is the sum of its entries" in page
        assert StaffAction.objects.count() == 2


class TestDemoTraffic:
    def test_its_books_balance_and_its_calls_fill_the_month(self, catalogue: None, capsys) -> None:
        call_command("demo_traffic", days=5, calls_per_day=12)
        assert "16 customers" in capsys.readouterr().out
        assert [finding for finding in audit() if not finding.passed] == []
        ended = Generation.objects.exclude(state__in=[GenerationState.WAITING, GenerationState.RUNNING])
        assert ended.count() == Generation.objects.count() > 20
        assert len({row.date() for row in Generation.objects.values_list("created_at", flat=True)}) >= 5
        assert LedgerEntry.objects.filter(kind=EntryKind.TOP_UP).exists()
        used = set(Generation.objects.values_list("key_id", flat=True))
        assert set(ApiKey.objects.exclude(last_used_at=None).values_list("pk", flat=True)) == used

    def test_its_month_is_in_the_revenue_though_ended_months_were_folded(self, catalogue: None) -> None:
        now = timezone.now()
        months_fold(now=now)
        call_command("demo_traffic", days=32, calls_per_day=3)
        assert not RevenueMonth.objects.filter(folded=True, month__gte=month_number(now - timedelta(days=32))).exists()
        house_fold(now=now)
        months_fold(now=now)
        assert [finding for finding in audit() if not finding.passed] == []
        with pytest.raises(CommandError, match="already"):
            call_command("demo_traffic")

    def test_where_its_days_are_summed_up_it_is_refused(self, payer: Member) -> None:
        with time_machine.travel(timezone.now() - timedelta(days=3), tick=False):
            paid_call(payer)
        house_fold(now=timezone.now())
        with pytest.raises(CommandError, match="summed up already"):
            call_command("demo_traffic")
        call_command("demo_traffic", days=1, calls_per_day=1)

    def test_its_refused_calls_are_counted_like_any(self, catalogue: None, capsys) -> None:
        Plan.objects.filter(code="free").update(free_calls_per_day=0)
        call_command("demo_traffic", days=2, calls_per_day=30)
        refused = int(re.search(r"(\d+) refused", capsys.readouterr().out)[1])
        counted = RefusalBucket.objects.aggregate(calls=Sum("calls"))["calls"]
        assert counted == refused > 0

    def test_it_never_runs_twice_or_where_real_customers_are(self, catalogue: None, settings) -> None:
        settings.PUBLIC_URL = "https://images.example.com"
        with pytest.raises(CommandError, match="PUBLIC_URL"):
            call_command("demo_traffic")
        settings.PUBLIC_URL = ""
        call_command("demo_traffic", days=1, calls_per_day=1)
        with pytest.raises(CommandError, match="already"):
            call_command("demo_traffic")
        with pytest.raises(CommandError):
            call_command("demo_traffic", days=0)
