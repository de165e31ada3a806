"""Monthly spending limits of an account and of a key: hard at admission, given back on release, told on the way."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey
from billing.entitlements import terms_of
from billing.errors import FundsExhausted, SpendLimitReached
from billing.holds import hold_capture, hold_place, hold_release
from billing.mails import balance_low
from billing.models import Hold, SpendMonth, UsageBucket, Wallet
from billing.notices import notices_send
from tests.support.money import fund, wallet_of
from tests.support.stripe import differences

NOW = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
PRICE = 2_000


@pytest.fixture
def spender(alice):
    fund(alice.account, 1_000_000)
    Wallet.objects.filter(pk=alice.account.pk).update(overrides={"free_calls_per_day": 0})
    return alice.account


def limit_to(account, amount_microusd):
    Wallet.objects.filter(pk=account.pk).update(spend_limit_microusd=amount_microusd)


def place(account, reference, *, images=1, now=NOW, key_id=7, budget=None):
    with transaction.atomic():
        return hold_place(
            reference=reference,
            account_id=account.pk,
            terms=terms_of(account.pk, now=now),
            price_code="sd15",
            model_id="demo",
            unit_price_microusd=PRICE,
            images=images,
            now=now,
            key_id=key_id,
            key_budget_microusd=budget,
        )


def close(reference, images):
    with transaction.atomic():
        hold_capture(reference=reference, images=images, now=NOW) if images else hold_release(reference=reference)


def counted():
    return sorted(SpendMonth.objects.values_list("key_id", "opening_microusd", "counted_microusd"))


def differing():
    """Holds of these tests have no generations: the books' own checks alone."""
    return [name for name, _ in differences() if "generation" not in name and "captures" not in name]


class TestTheLimit:
    def test_the_call_that_would_exceed_it_is_refused_and_writes_nothing(self, spender):
        limit_to(spender, 3 * PRICE)
        place(spender, 1, images=3)
        with pytest.raises(SpendLimitReached) as refusal:
            place(spender, 2)
        assert refusal.value.fields["resets_at"] == "2026-04-01T00:00:00+00:00"
        assert refusal.value.fields["scope"] == "this account"
        assert Hold.objects.count() == 1
        assert wallet_of(spender).held_microusd == 3 * PRICE
        assert differing() == []

    def test_a_new_month_begins_anew(self, spender):
        limit_to(spender, PRICE)
        place(spender, 1)
        place(spender, 2, now=NOW + timedelta(seconds=1))
        assert SpendMonth.objects.count() == 2

    def test_a_release_gives_back_to_the_month_of_the_call(self, spender):
        limit_to(spender, PRICE)
        place(spender, 1)
        place(spender, 2, now=NOW + timedelta(seconds=1))
        close(1, 0)
        assert place(spender, 3).amount_microusd == PRICE
        assert differing() == []

    def test_a_partly_delivered_call_counts_what_was_delivered(self, spender):
        limit_to(spender, 4 * PRICE)
        place(spender, 1, images=4)
        close(1, 1)
        assert counted() == [(0, 0, PRICE)]
        place(spender, 2, images=3)
        assert differing() == []

    def test_what_was_spent_before_the_limit_counts(self, spender):
        place(spender, 1, images=3)
        close(1, 2)
        limit_to(spender, 3 * PRICE)
        place(spender, 2)
        assert counted() == [(0, 2 * PRICE, PRICE)]
        with pytest.raises(SpendLimitReached):
            place(spender, 3)

    def test_zero_stops_everything_that_costs(self, spender):
        limit_to(spender, 0)
        with pytest.raises(SpendLimitReached):
            place(spender, 1)

    def test_a_limit_taken_away_stops_nothing_and_gives_back_all_the_same(self, spender):
        limit_to(spender, PRICE)
        place(spender, 1)
        limit_to(spender, None)
        place(spender, 2)
        close(1, 0)
        close(2, 0)
        assert counted() == [(0, 0, 0)]
        assert differing() == []

    def test_missing_funds_are_told_where_the_limit_has_room(self, spender):
        limit_to(spender, 10_000_000)
        with pytest.raises(FundsExhausted):
            place(spender, 1, images=600)
        assert wallet_of(spender).held_microusd == 0
        assert counted() == []

    def test_without_a_limit_no_counter_exists(self, spender):
        place(spender, 1)
        assert counted() == []


class TestKeys:
    def test_a_keys_budget_stops_that_key_alone(self, spender):
        place(spender, 1, key_id=7, budget=PRICE)
        with pytest.raises(SpendLimitReached) as refusal:
            place(spender, 2, key_id=7, budget=PRICE)
        assert refusal.value.fields["scope"] == "this key"
        place(spender, 3, key_id=8, budget=PRICE)
        place(spender, 4, key_id=9)

    def test_both_limits_count_together_or_not_at_all(self, spender):
        limit_to(spender, 2 * PRICE)
        place(spender, 1, key_id=7, budget=5 * PRICE)
        place(spender, 2, key_id=8)
        with pytest.raises(SpendLimitReached):
            place(spender, 3, key_id=7, budget=5 * PRICE)
        assert counted() == [(0, 0, 2 * PRICE), (7, 0, PRICE)]
        assert differing() == []


class TestMails:
    def spend(self, account, amount_microusd, key_id=0):
        UsageBucket.objects.create(
            bucket=timezone.now(), account_id=account.pk, key_id=key_id, amount_microusd=amount_microusd, calls=1
        )

    def test_half_three_quarters_and_all_are_told_once_each(self, spender, mailoutbox):
        limit_to(spender, 100_000_000)
        Wallet.objects.filter(pk=spender.pk).update(low_balance_microusd=None)
        for step, expected in ((49, 0), (1, 1), (25, 2), (25, 3)):
            self.spend(spender, step * 1_000_000, key_id=step + expected)
            for _ in range(2):
                notices_send(now=timezone.now())
            assert len(mailoutbox) == expected
        assert "100 %" in mailoutbox[-1].subject
        assert "refused until next month" in mailoutbox[-1].body

    def test_the_soft_mark_tells_and_stops_nothing(self, spender, mailoutbox):
        Wallet.objects.filter(pk=spender.pk).update(spend_warn_microusd=PRICE, low_balance_microusd=None)
        self.spend(spender, PRICE)
        notices_send(now=timezone.now())
        assert [mail.subject for mail in mailoutbox] == ["Lumen: Spending reached your mark"]
        place(spender, 1, now=timezone.now())

    def test_the_mail_leads_to_the_bills_by_an_absolute_address(self, spender, mailoutbox, settings):
        for public_url, root in (
            ("", f"http://127.0.0.1:{settings.PORT}"),
            ("https://a.example/", "https://a.example"),
        ):
            settings.PUBLIC_URL = public_url
            balance_low(account_id=spender.pk, since=root, available_microusd=1, now=timezone.now())
            assert f"Billing: {root}/dashboard/billing/\n" in mailoutbox[-1].body + "\n"

    def test_a_keys_budget_is_told_by_name(self, alice, spender, mailoutbox):
        Wallet.objects.filter(pk=spender.pk).update(low_balance_microusd=None)
        ApiKey.objects.filter(pk=alice.key_id).update(budget_microusd=PRICE, name="Batch")
        self.spend(spender, PRICE, key_id=alice.key_id)
        notices_send(now=timezone.now())
        assert 'The key "Batch"' in mailoutbox[0].body


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestUnderACrowd:
    @pytest.fixture
    def crowded(self, alice, child_database):
        fund(alice.account, 10_000 * PRICE)
        Wallet.objects.filter(pk=alice.account.pk).update(
            overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0},
            spend_limit_microusd=60 * PRICE,
        )
        ApiKey.objects.filter(pk=alice.key_id).update(budget_microusd=50 * PRICE)
        return alice

    def test_a_limit_is_exact(self, crowded):
        from tests.support.crowd import rush

        outcomes = rush(crowded.key, tries=100)
        assert outcomes == {"accepted": 50, "spend_limit_reached": 350}
        assert counted() == [(0, 0, 50 * PRICE), (crowded.key_id, 0, 50 * PRICE)]
        assert differences() == []

    def test_checked_before_counted_it_is_not(self, crowded):
        """The negative control."""
        from tests.support.crowd import rush

        assert rush(crowded.key, tries=100, fault="spend_limit")["accepted"] > 50
