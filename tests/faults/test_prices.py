"""L17: a charge is a checked whole number of images at the price of admission, however large ids and sums grow."""

import json

import pytest
from django.db import DataError, connection
from django.utils import timezone

from billing.models import Hold, LedgerEntry, Wallet
from billing.services import price_set
from gateway.audit import audit
from gateway.caching import caches_clear
from gateway.services import generation_settle
from inference.models import Generation, ImageModel
from tests.conftest import join
from tests.support.money import fund, wallet_of
from tests.support.orders import delivered, place

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

PRICE_MICROUSD = 2_000
BEYOND_INT4 = 2**31
APPS = ("accounts", "billing", "gateway", "inference")


@pytest.fixture
def funded(alice):
    fund(alice.account, 3 * BEYOND_INT4)
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0})
    caches_clear()
    return alice


def ask(client, member, samples_json):
    body = json.dumps({"key": member.key, "prompt": "a red circle", "instant_response": "yes"})
    body = body[:-1] + f', "samples": {samples_json}}}'
    return client.post("/api/v7/images/text-to-image", body, content_type="application/json")


@pytest.mark.proves("L17")
@pytest.mark.parametrize(
    ("samples", "images"),
    [("4", 4), ('"4"', 4), ("0", 1), ("-1", 1), ("5", 4), ("1e30", 4), ("null", 1), ("2.0", 2)],
)
def test_samples_are_brought_into_their_range_and_held_for(client, funded, samples, images):
    response = ask(client, funded, samples)
    assert response.status_code == 200, response.content
    assert Generation.objects.get().images_requested == images
    assert Hold.objects.get().images_held == images
    assert wallet_of(funded.account).held_microusd == images * PRICE_MICROUSD


@pytest.mark.proves("L17")
@pytest.mark.parametrize("samples", ["NaN", "Infinity", '"NaN"', '"many"', "[2]", "2.5", '"1e400"', '{"a": 1}'])
def test_samples_that_are_no_whole_number_are_refused_and_write_nothing(client, funded, samples):
    response = ask(client, funded, samples)
    assert response.status_code in (400, 422), response.content
    assert not Generation.objects.exists()
    assert not Hold.objects.exists()
    assert wallet_of(funded.account).held_microusd == 0


@pytest.mark.proves("L17")
def test_a_price_that_changes_before_the_capture_does_not_change_the_charge(funded):
    generation = place(funded, samples=3).generation
    price_set(price_code="sd15", amount_microusd=9_999, effective_from=timezone.now())
    caches_clear()
    generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())
    assert LedgerEntry.objects.get(kind="capture").amount_microusd == -3 * PRICE_MICROUSD
    assert [finding.check.name for finding in audit() if not finding.passed] == []


@pytest.mark.control("L17")
def test_a_charge_at_todays_price_is_caught_by_the_audit(funded, monkeypatch):
    generation = place(funded, samples=3).generation
    honest = Hold.objects.get

    def at_todays_price(**criteria):
        hold = honest(**criteria)
        hold.unit_price_microusd = 9_999
        return hold

    monkeypatch.setattr(Hold.objects, "get", at_todays_price)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_wallet DROP CONSTRAINT wallet_held_not_negative")
    try:
        generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())
        assert "every capture from funds has one entry of its price and images" in {
            finding.check.name for finding in audit() if not finding.passed
        }
    finally:
        Wallet.objects.update(held_microusd=0)
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE billing_wallet ADD CONSTRAINT wallet_held_not_negative CHECK (held_microusd >= 0)"
            )


@pytest.mark.proves("L17")
def test_a_model_without_a_price_is_refused_over_http_and_never_free(client, funded):
    ImageModel.objects.update(price_code="unheard of")
    caches_clear()
    response = ask(client, funded, "1")
    assert response.status_code == 503, response.content
    assert not Generation.objects.exists()


# --- beyond 2^31 -----------------------------------------------------------------------------------------------------


@pytest.fixture
def high_ids(catalogue):
    """Every sequence of our own tables just below 2^31, for the length of a test."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequencename, coalesce(last_value, 1) FROM pg_sequences WHERE data_type::text = 'bigint'"
        )
        before = [(name, value) for name, value in cursor.fetchall() if name.startswith(APPS)]
        for name, _ in before:
            cursor.execute("SELECT setval(%s, %s)", [name, BEYOND_INT4 - 2])
    yield
    with connection.cursor() as cursor:
        for name, value in before:
            cursor.execute("SELECT setval(%s, %s)", [name, value])


def whole_life(email):
    member = join(email, plan_code="payg")
    Wallet.objects.filter(pk=member.account.pk).update(overrides={"queued_calls": 9, "free_calls_per_day": 0})
    fund(member.account, 3 * BEYOND_INT4)
    generation = place(member, samples=4).generation
    assert generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())
    return member


@pytest.mark.proves("L17")
def test_ids_and_amounts_beyond_two_to_the_31_change_nothing(high_ids):
    members = [whole_life(f"{number}@example.org") for number in range(4)]
    assert max(member.account.pk for member in members) > BEYOND_INT4
    assert wallet_of(members[-1].account).balance_microusd == 3 * BEYOND_INT4 - 4 * PRICE_MICROUSD
    assert [finding.check.name for finding in audit() if not finding.passed] == []


@pytest.mark.control("L17")
def test_a_narrow_column_is_noticed(high_ids):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_hold ALTER account_id TYPE integer")
    try:
        with pytest.raises(DataError):
            [whole_life(f"{number}@example.org") for number in range(4)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_hold ALTER account_id TYPE bigint")
