"""The usage page adds up: in every zone, over a change of clocks, by every grouping, and in the CSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.test import Client

from accounts.models import Account
from billing.models import UsageBucket, UsageFold, UsageFolding, Wallet
from billing.money import usd_parse
from billing.usage_days import days_fold
from gateway.dashboard.ranges import Range
from gateway.dashboard.usage_focus import COLUMNS
from tests.conftest import Member

# The night in which Berlin's clocks go back lies inside the last seven days.
NOW = datetime(2026, 10, 28, 12, 7, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]


def bucket(account: Account, at: datetime, **values: object) -> UsageBucket:
    fields: dict[str, object] = {
        "key_id": 1, "model_id": "demo", "endpoint": "v7/images/text-to-image", "plan_code": "payg", "source": "funds",
        "status": "succeeded", "size": "256x256", "calls": 1, "images": 1, "amount_microusd": 2_000,
        "list_price_microusd": 2_000, "wait_ms": 10, "run_ms": 900,
    }  # fmt: skip
    return UsageBucket(bucket=at, account_id=account.pk, **{**fields, **values})


@pytest.fixture
def traffic(alice: Member, charlie: Member) -> int:
    """A call in every quarter of an hour of nine days; alice's micro-dollars in all."""
    quarters = [NOW.replace(minute=0) - timedelta(minutes=15 * i) for i in range(9 * 96)]
    models = ["demo", "second", "=cmd|calc"]
    rows = [bucket(alice.account, at, model_id=models[i % 3]) for i, at in enumerate(quarters)]
    rows += [bucket(alice.account, at, status="failed", amount_microusd=0, images=0) for at in quarters[:8]]
    rows += [bucket(charlie.account, at, amount_microusd=999_999) for at in quarters]
    UsageBucket.objects.bulk_create(rows)
    return sum(row.amount_microusd for row in rows if row.account_id == alice.account.pk)


def chart_of(page: str) -> list[list[float]]:
    found = re.search(r'<script id="usage" type="application/json">(.*?)</script>', page)
    assert found is not None
    chart: list[list[float]] = json.loads(found[1])
    return chart


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize("zone", ZONES)
def test_the_chart_s_sum_is_the_sum_of_the_rows(
    client: Client, alice: Member, traffic: int, zone: str, subtests: pytest.Subtests
) -> None:
    Account.objects.filter(pk=alice.account.pk).update(time_zone=zone)
    client.force_login(alice.user)
    for span, group in itertools.product(["1h", "24h", "7d", "30d", "90d"], ["none", "model_id", "status"]):
        with subtests.test(span=span, group=group):
            page = client.get(f"/dashboard/usage?range={span}&metric=calls&group={group}").content.decode()
            shown = sum(sum(series) for series in chart_of(page)[1:])
            start = Range.parse(span, now=NOW, zone=ZoneInfo(zone)).start
            mine = UsageBucket.objects.filter(account_id=alice.account.pk, bucket__gte=start, bucket__lte=NOW)
            assert shown == sum(mine.values_list("calls", flat=True)) > 0


@time_machine.travel(NOW, tick=False)
def test_a_day_on_which_clocks_go_back_has_a_hundred_quarters(client: Client, alice: Member, traffic: int) -> None:
    Account.objects.filter(pk=alice.account.pk).update(time_zone="Europe/Berlin")
    client.force_login(alice.user)
    times, calls = chart_of(client.get("/dashboard/usage?range=7d&metric=images").content.decode())
    days = {
        datetime.fromtimestamp(at, ZoneInfo("Europe/Berlin")).date().isoformat(): n
        for at, n in zip(times, calls, strict=True)
    }
    assert days["2026-10-25"] == 100
    assert days["2026-10-24"] == 96


@time_machine.travel(NOW, tick=False)
def test_a_stranger_s_traffic_is_in_no_number(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    assert "999" not in client.get("/dashboard/usage?range=30d&metric=money").content.decode()


@time_machine.travel(NOW, tick=False)
def test_the_csv_sums_to_the_same_and_disarms_formulas(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    answer = client.get("/dashboard/usage.csv?range=30d")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[arg-type]
    assert sum(round(float(row["amount_usd"]) * 1_000_000) for row in rows) == traffic
    assert {row["model_id"] for row in rows} == {"demo", "second", "'=cmd|calc"}


@time_machine.travel(NOW, tick=False)
def test_the_page_asks_the_same_few_queries_however_much_there_is(
    client: Client, alice: Member, traffic: int, django_assert_max_num_queries: object
) -> None:
    client.force_login(alice.user)
    with django_assert_max_num_queries(20):  # type: ignore[operator]
        client.get("/dashboard/usage?range=30d&group=key_id")


def sums_of(client: Client, key: str, **fields: str) -> dict[str, object]:
    answer = client.get("/api/v7/account/usage", {"key": key, **fields})
    assert answer.status_code == 200
    data: dict[str, object] = answer.json()["data"]
    return data


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize("zone", ZONES)
def test_folded_days_give_the_same_page(client: Client, alice: Member, traffic: int, zone: str) -> None:
    Account.objects.filter(pk=alice.account.pk).update(time_zone=zone)
    client.force_login(alice.user)
    paths = [f"/dashboard/usage?range={span}&metric=money&group=model_id" for span in ("7d", "30d", "90d")]
    paths += ["/dashboard/usage?from=2026-10-21T13:30&to=2026-10-27T02:15&group=status"]
    before = [chart_of(client.get(path).content.decode()) for path in paths]
    assert days_fold(now=NOW) == 2
    assert UsageFold.objects.filter(account_id=alice.account.pk).exists()
    assert [chart_of(client.get(path).content.decode()) for path in paths] == before


@time_machine.travel(NOW, tick=False)
def test_folding_twice_changes_nothing_and_another_zone_begins_again(alice: Member, traffic: int) -> None:
    def folded() -> int:
        mine = UsageFold.objects.filter(account_id=alice.account.pk)
        return sum(mine.values_list("amount_microusd", flat=True))

    days_fold(now=NOW)
    once = folded()
    assert days_fold(now=NOW) == 0
    assert folded() == once
    Account.objects.filter(pk=alice.account.pk).update(time_zone="Asia/Kathmandu")
    assert days_fold(now=NOW) == 1
    assert UsageFolding.objects.get(pk=alice.account.pk).zone == "Asia/Kathmandu"
    assert abs(folded() - once) <= 96 * 2_000


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize("folded", [False, True])
def test_the_api_s_totals_are_the_rows_to_the_micro_dollar(
    client: Client, alice: Member, traffic: int, folded: bool
) -> None:
    if folded:
        days_fold(now=NOW)
    data = sums_of(client, alice.key, range="30d", group="status")
    assert data["totals"]["amount_microusd"] == traffic  # type: ignore[index]
    rows = data["rows"]
    assert sum(row["amount_microusd"] for row in rows) == traffic  # type: ignore[attr-defined]
    assert {row["group"] for row in rows} == {"succeeded", "failed"}  # type: ignore[attr-defined]


@time_machine.travel(NOW, tick=False)
def test_the_api_names_what_it_cannot_group_by(client: Client, alice: Member, traffic: int) -> None:
    answer = client.get("/api/v7/account/usage", {"key": alice.key, "group": "colour", "zone": "Mars/North"})
    assert answer.status_code == 400
    assert {fault["field"] for fault in answer.json()["errors"]} == {"group", "zone"}


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"range": "cycle"}, "2026-10-01T00:00:00+00:00", "2026-10-28T12:15:00+00:00"),
        ({"range": "last"}, "2026-09-01T00:00:00+00:00", "2026-10-01T00:00:00+00:00"),
        ({"from": "2026-10-20", "to": "2026-10-22"}, "2026-10-20T00:00:00+00:00", "2026-10-22T00:00:00+00:00"),
        ({"from": "1792454400", "to": "1792461600"}, "2026-10-20T00:00:00+00:00", "2026-10-20T02:00:00+00:00"),
        ({"range": "rubbish", "from": "rubbish"}, "2026-10-22T00:00:00+00:00", "2026-10-28T12:15:00+00:00"),
    ],
)
def test_a_span_is_a_cycle_or_any_two_moments(
    client: Client, alice: Member, traffic: int, fields: dict[str, str], start: str, end: str
) -> None:
    data = sums_of(client, alice.key, **fields)
    assert (data["from"], data["to"]) == (start, end)


@time_machine.travel(NOW, tick=False)
def test_the_last_view_is_remembered(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    client.get("/dashboard/usage?range=30d&metric=money&group=size")
    assert chart_of(client.get("/dashboard/usage").content.decode()) == chart_of(
        client.get("/dashboard/usage?range=30d&metric=money&group=size").content.decode()
    )


@time_machine.travel(NOW, tick=False)
def test_each_row_leads_to_its_calls_in_the_log(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    page = client.get("/dashboard/usage?range=24h").content.decode()
    assert re.search(r"/dashboard/requests\?from=\d+&amp;to=\d+", page)


@time_machine.travel(NOW, tick=False)
@time_machine.travel(NOW, tick=False)
def test_what_did_not_happen_is_said_and_not_drawn(client: Client, alice: Member) -> None:
    UsageBucket.objects.bulk_create([bucket(alice.account, NOW.replace(minute=0))])
    client.force_login(alice.user)
    page = client.get("/dashboard/usage?metric=errors&group=key_id").content.decode()
    assert "No call failed in this range." in page
    assert "data-chart" not in page
    assert '<h2 id="parts-title">By key</h2>' in page
    assert "data-chart" in client.get("/dashboard/usage?metric=calls").content.decode()


def test_outcomes_have_the_names_that_other_pages_give_them(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    page = client.get("/dashboard/usage?range=90d&group=status", headers={"accept-language": "de"}).content.decode()
    assert ">Gelungen</a>" in page
    assert ">succeeded</a>" not in page


@time_machine.travel(NOW, tick=False)
def test_the_costs_in_focus_s_columns_sum_to_what_was_charged(client: Client, alice: Member, traffic: int) -> None:
    client.force_login(alice.user)
    answer = client.get("/dashboard/usage/focus.csv?range=30d")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[arg-type]
    assert sum(usd_parse(row["BilledCost"]) for row in rows) == traffic
    first = rows[0]
    assert (first["BillingCurrency"], first["ChargeCategory"], first["ChargeFrequency"]) == (
        "USD",
        "Usage",
        "Usage-Based",
    )
    assert first["BillingAccountId"] == str(alice.account.public_id)
    start, end = (datetime.fromisoformat(first[name]) for name in ("ChargePeriodStart", "ChargePeriodEnd"))
    assert end - start == timedelta(minutes=15)
    assert first["BillingPeriodStart"].endswith("-01T00:00:00Z")
    assert json.loads(first["Tags"])["status"] in ("succeeded", "failed")
    assert "'=cmd|calc" in {row["SkuId"] for row in rows}


def test_focus_without_usage_is_its_head_alone(client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    text = b"".join(client.get("/dashboard/usage/focus.csv").streaming_content).decode()  # type: ignore[arg-type]
    assert text == ",".join(COLUMNS) + "\r\n"


@time_machine.travel(NOW, tick=False)
def test_today_s_spend_stands_against_the_limit(client: Client, alice: Member) -> None:
    """A day begins at midnight of the account's zone."""
    Account.objects.filter(pk=alice.account.pk).update(time_zone="Asia/Kathmandu")
    client.force_login(alice.user)
    assert "no monthly limit is set" in client.get("/dashboard/usage").content.decode()
    Wallet.objects.filter(pk=alice.account.pk).update(spend_limit_microusd=10_000_000)
    midnight = NOW.astimezone(ZoneInfo("Asia/Kathmandu")).replace(hour=0, minute=0, second=0, microsecond=0)
    for moment, amount in ((midnight - timedelta(minutes=15), 2_000_000), (midnight, 1_250_000)):
        UsageBucket.objects.create(
            account_id=alice.account.pk, key_id=alice.key_id, bucket=moment, model_id="demo", amount_microusd=amount
        )
    page = re.sub(r"\s+", " ", client.get("/dashboard/usage").content.decode())
    card = page.partition("Spend today")[2][:400]
    assert "$1.25" in card
    assert "$6.75 left of $10.00 a month" in card
