"""Reservations: which source pays, what is given back, and that each hold ends once."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from billing.entitlements import terms_of
from billing.errors import (
    AccountInArrears,
    AllowanceExhausted,
    DailyQuotaExhausted,
    FundsExhausted,
    ModelNotInPlan,
)
from billing.holds import free_calls_used, hold_capture, hold_place, hold_release
from billing.models import Allowance, Hold, LedgerEntry, Source, UsageDay, Wallet
from tests.support.money import fund, move_to, wallet_of

NOW = datetime(2026, 3, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def place(account, *, reference=1, images=1, price_code="sd15", now=NOW, **changes):
    with transaction.atomic():
        return hold_place(
            reference=reference,
            account_id=account.pk,
            terms=terms_of(account.pk, now=now),
            price_code=price_code,
            model_id="demo",
            unit_price_microusd=2_000,
            images=images,
            now=now,
            **changes,
        )


def capture(reference=1, images=1):
    with transaction.atomic():
        return hold_capture(reference=reference, images=images, now=NOW)


def release(reference=1):
    with transaction.atomic():
        return hold_release(reference=reference)


def allow(account, calls=1):
    move_to(account, "standard")
    return Allowance.objects.create(
        account=account,
        grant_key=f"invoice:{calls}",
        period_start=NOW - timedelta(days=1),
        period_end=NOW + timedelta(days=29),
        calls_granted=calls,
    )


class TestSources:
    def test_a_free_account_pays_with_the_days_calls(self, alice):
        assert place(alice.account).source == Source.FREE_DAY
        assert free_calls_used(account_id=alice.account.pk, now=NOW) == 1

    def test_the_hundred_and_first_call_of_a_day_is_refused_and_writes_nothing(self, alice):
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        with pytest.raises(DailyQuotaExhausted) as refusal:
            place(alice.account)
        assert refusal.value.fields["resets_at"] == "2026-04-01T00:00:00+00:00"
        assert Hold.objects.count() == 0
        assert UsageDay.objects.get().calls == 100

    @pytest.mark.proves("L14")
    def test_a_new_utc_day_is_a_new_hundred(self, alice):
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        assert place(alice.account, now=NOW + timedelta(milliseconds=1)).source == Source.FREE_DAY

    def test_funds_follow_the_free_calls(self, alice):
        fund(alice.account, 10_000)
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=99)
        assert place(alice.account, reference=1).source == Source.FREE_DAY
        assert place(alice.account, reference=2, images=4).source == Source.FUNDS
        assert wallet_of(alice.account).held_microusd == 8_000

    def test_funds_that_do_not_suffice_refuse_with_both_amounts(self, alice):
        fund(alice.account, 5_000)
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        with pytest.raises(FundsExhausted) as refusal:
            place(alice.account, images=3)
        assert refusal.value.fields["cost_microusd"] == 6_000
        assert refusal.value.fields["available_microusd"] == 5_000
        assert wallet_of(alice.account).held_microusd == 0

    def test_an_unlimited_plan_pays_nothing_inside_its_families(self, alice):
        move_to(alice.account, "unlimited")
        assert place(alice.account).source == Source.UNLIMITED

    def test_an_unlimited_plan_refuses_other_models_until_told_to_go_on_from_funds(self, alice):
        move_to(alice.account, "unlimited")
        with pytest.raises(ModelNotInPlan):
            place(alice.account, price_code="other")
        Wallet.objects.filter(pk=alice.account.pk).update(continue_from_funds=True, balance_microusd=2_000)
        assert place(alice.account, price_code="other").source == Source.FUNDS

    def test_premium_covers_every_model(self, alice):
        move_to(alice.account, "premium")
        assert place(alice.account, price_code="other").source == Source.UNLIMITED

    def test_an_allowance_is_used_up_to_its_last_call(self, alice):
        allow(alice.account, calls=1)
        assert place(alice.account).source == Source.ALLOWANCE
        with pytest.raises(AllowanceExhausted):
            place(alice.account, reference=2)

    def test_an_account_in_arrears_is_refused_whatever_its_plan(self, alice):
        move_to(alice.account, "premium")
        Wallet.objects.filter(pk=alice.account.pk).update(in_arrears=True)
        with pytest.raises(AccountInArrears):
            place(alice.account)


class TestEnds:
    def test_a_capture_charges_what_was_delivered_and_frees_the_rest(self, alice):
        fund(alice.account, 10_000)
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        place(alice.account, images=4)
        assert capture(images=3).charged_microusd == 6_000
        wallet = wallet_of(alice.account)
        assert (wallet.balance_microusd, wallet.held_microusd) == (4_000, 0)
        assert LedgerEntry.objects.get(kind="capture").images == 3

    def test_a_second_capture_finds_the_hold_closed(self, alice):
        fund(alice.account, 10_000)
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        place(alice.account)
        assert capture() is not None
        assert capture() is None
        assert release() is None
        assert wallet_of(alice.account).balance_microusd == 8_000

    def test_a_release_gives_the_free_call_back(self, alice):
        place(alice.account)
        assert release() is not None
        assert free_calls_used(account_id=alice.account.pk, now=NOW) == 0
        assert release() is None
        assert free_calls_used(account_id=alice.account.pk, now=NOW) == 0

    def test_a_release_gives_the_allowance_back(self, alice):
        allowance = allow(alice.account)
        place(alice.account)
        release()
        allowance.refresh_from_db()
        assert allowance.calls_used == 0

    def test_a_release_gives_the_funds_back(self, alice):
        fund(alice.account, 10_000)
        UsageDay.objects.create(account_id=alice.account.pk, day=NOW.date(), calls=100)
        place(alice.account, images=2)
        release()
        wallet = wallet_of(alice.account)
        assert (wallet.balance_microusd, wallet.held_microusd) == (10_000, 0)
        assert not LedgerEntry.objects.filter(kind="capture").exists()

    def test_a_capture_of_nothing_is_a_release(self, alice):
        place(alice.account)
        capture(images=0)
        assert Hold.objects.get().state == "released"
        assert free_calls_used(account_id=alice.account.pk, now=NOW) == 0
