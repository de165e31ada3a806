"""Admission: all or nothing, once per idempotency key, nothing consumed by a refusal."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import ApiKey
from billing.errors import DailyQuotaExhausted, FundsExhausted, PriceMissing
from billing.models import Hold, Price, UsageDay
from billing.services import price_set
from gateway.caching import caches_clear
from gateway.errors import IdempotencyConflict, QueueFull, RateLimited
from gateway.limits import limit_scopes, limiter
from gateway.models import IdempotencyRecord
from gateway.periodic import idempotency
from gateway.ratelimit.shared import COUNTING_SINCE
from gateway.services import generation_place, generation_settle
from inference.models import Generation, ImageModel
from tests.support.money import fund, wallet_of
from tests.support.orders import caller_of, delivered, order, place


def exhaust_free_calls(account):
    UsageDay.objects.create(account_id=account.pk, day=timezone.now().date(), calls=100)


def used(member):
    scope = limit_scopes(account_id=member.account.pk, key_id=member.key_id)[0]
    usage = limiter().peek(scope=scope, now_ms=int(timezone.now().timestamp() * 1000), per_minute=10, queued=2)
    return usage.used, usage.queued


def nothing_written():
    return not (Generation.objects.exists() or Hold.objects.exists() or IdempotencyRecord.objects.exists())


def test_an_accepted_call_is_one_waiting_generation_with_one_open_hold(alice):
    placement = place(alice, samples=2)
    row = Generation.objects.get()
    assert placement.created
    assert (row.state, row.images_requested, row.account_id) == ("waiting", 2, alice.account.pk)
    assert row.spec["prompt"] == "a red circle"
    assert Hold.objects.get().reference == row.pk
    assert row.pk < 2**53


@pytest.mark.parametrize("track_id", [None, "order 7", 7, 0.5])
def test_what_is_given_back_is_what_was_written(alice, track_id):
    given = place(alice, samples=2, track_id=track_id, webhook_url="https://hooks.example.com/").generation
    read = Generation.objects.get(pk=given.pk)
    for field in Generation._meta.concrete_fields:
        assert getattr(given, field.attname) == getattr(read, field.attname), field.name
    assert not given.get_deferred_fields()
    assert (given._state.adding, given._state.db) == (read._state.adding, read._state.db)
    given.step = 1
    given.save(update_fields=["step"])
    assert Generation.objects.get(pk=given.pk).step == 1


@pytest.fixture
def vouching():
    """Redis, where there is one, vouches at once for what it counts, however young it is."""
    if client := getattr(limiter(), "_client", None):
        client.set(COUNTING_SINCE, 0)


@pytest.mark.usefixtures("vouching")
def test_admission_takes_few_statements(alice, django_assert_num_queries):
    fund(alice.account, 1_000_000)
    exhaust_free_calls(alice.account)
    place(alice)
    caller, warm = caller_of(alice), order()
    # PostgreSQL: the day refuses, the funds pay. SQLite: savepoint, day, wallet, hold, generation, release.
    with django_assert_num_queries(2 if connection.vendor == "postgresql" else 6):
        generation_place(caller=caller, order=warm, idempotency_key=None, now=timezone.now())


@pytest.mark.proves("L17")
def test_the_price_is_frozen_at_admission(alice):
    fund(alice.account, 100_000)
    exhaust_free_calls(alice.account)
    generation = place(alice).generation
    price_set(price_code="sd15", amount_microusd=9_999, effective_from=timezone.now())
    caches_clear()
    assert Generation.objects.get(pk=generation.pk).unit_price_microusd == 2_000
    assert Hold.objects.get(pk=generation.pk).unit_price_microusd == 2_000
    assert place(alice).generation.unit_price_microusd == 9_999


@pytest.mark.proves("L17")
def test_a_model_without_a_price_is_refused_never_free(alice):
    ImageModel.objects.update(price_code="unheard of")
    with pytest.raises(PriceMissing):
        place(alice)
    assert nothing_written()
    assert used(alice) == (0, 0)


def test_an_accounts_own_price_goes_before_everyones(alice):
    price_set(price_code="sd15", amount_microusd=1, effective_from=timezone.now(), account=alice.account)
    Price.objects.filter(account=None).update(amount_microusd=5)
    assert place(alice).generation.unit_price_microusd == 1


def test_a_quota_refusal_consumes_no_minute_and_no_place(alice):
    exhaust_free_calls(alice.account)
    with pytest.raises(DailyQuotaExhausted):
        place(alice)
    assert used(alice) == (0, 0)
    assert nothing_written()


def test_a_refusal_for_funds_leaves_the_wallet_alone(alice):
    fund(alice.account, 1_999)
    exhaust_free_calls(alice.account)
    with pytest.raises(FundsExhausted):
        place(alice)
    assert wallet_of(alice.account).held_microusd == 0
    assert nothing_written()


def test_the_queue_limit_of_a_free_account_is_two(alice):
    place(alice)
    place(alice)
    with pytest.raises(QueueFull) as refusal:
        place(alice)
    assert refusal.value.fields["limit"] == 2
    assert Generation.objects.count() == 2


def test_the_minute_limit_counts_every_key_of_the_account(alice, bob):
    for number in range(10):
        place(alice if number % 2 else bob)
        settle_all()
    with pytest.raises(RateLimited) as refusal:
        place(alice)
    assert refusal.value.fields["limit"] == 10
    assert 1 <= refusal.value.fields["retry_after_s"] <= 61


def test_a_keys_own_limit_is_below_the_accounts(alice, bob):
    ApiKey.objects.filter(pk=bob.key_id).update(calls_per_minute=1)
    place(bob)
    with pytest.raises(RateLimited):
        place(bob)
    assert place(alice).created


def settle_all():
    for generation in Generation.objects.filter(state="waiting"):
        generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())


@pytest.mark.proves("L8")
class TestIdempotency:
    def test_the_same_key_and_body_is_the_same_generation(self, alice):
        first = place(alice, idempotency_key="k")
        second = place(alice, idempotency_key="k")
        assert (first.created, second.created) == (True, False)
        assert first.generation.pk == second.generation.pk
        assert Hold.objects.count() == 1
        assert used(alice) == (1, 1)

    def test_the_same_key_with_another_body_is_a_conflict(self, alice):
        place(alice, idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            place(alice, idempotency_key="k", prompt="a blue square")
        assert Generation.objects.count() == 1

    def test_keys_belong_to_their_account(self, alice, charlie):
        assert place(alice, idempotency_key="k").created
        assert place(charlie, idempotency_key="k").created

    def test_a_refused_call_leaves_its_key_free(self, alice):
        exhaust_free_calls(alice.account)
        with pytest.raises(DailyQuotaExhausted):
            place(alice, idempotency_key="k")
        UsageDay.objects.update(calls=0)
        assert place(alice, idempotency_key="k").created

    def test_keys_live_a_day_and_are_then_swept(self, alice):
        place(alice, idempotency_key="k")
        now = timezone.now()
        idempotency(now + timedelta(hours=23))
        assert IdempotencyRecord.objects.count() == 1
        idempotency(now + timedelta(hours=24, minutes=1))
        assert IdempotencyRecord.objects.count() == 0
