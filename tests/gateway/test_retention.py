"""What is over its time is deleted, files first; what was counted and paid stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Account
from billing.models import UsageBucket
from gateway.services import generation_settle
from gateway.services.retention import retention_due, retention_sweep
from inference.erasing import generation_erase
from inference.models import Generation
from inference.storage import FileMissing, get_storage
from tests.support.orders import delivered, place


def made(member, **changes) -> Generation:
    generation = place(member, prompt="a portrait of my daughter", **changes).generation
    result = delivered(generation)
    for image in result.images:
        get_storage().write(image.key, b"png", "image/png")
        get_storage().write(image.key.rpartition(".")[0] + ".txt", b"cG5n", "text/plain")
    assert generation_settle(generation_id=generation.pk, result=result, now=timezone.now())
    generation.refresh_from_db()
    return generation


def stands(key: str) -> bool:
    try:
        get_storage().read(key)
    except FileMissing:
        return False
    return True


def test_before_its_time_nothing_goes(alice):
    generation = made(alice)
    soon = timezone.now() + timedelta(days=29)
    assert not retention_due(soon)
    assert retention_sweep(now=soon) == 0
    assert stands(generation.images[0]["key"])


def test_afterwards_words_and_files_are_gone_and_the_counts_stay(alice):
    generation = made(alice)
    key = generation.images[0]["key"]
    before = list(UsageBucket.objects.values("calls", "images", "amount_microusd"))
    later = timezone.now() + timedelta(days=31)
    assert retention_due(later)
    assert retention_sweep(now=later) == 1
    generation.refresh_from_db()
    assert not stands(key)
    assert not stands(key.rpartition(".")[0] + ".txt")
    row = str(list(Generation.objects.values()))
    assert "daughter" not in row
    assert key not in row
    assert (generation.images_delivered, generation.erased_at) == (1, later)
    assert list(UsageBucket.objects.values("calls", "images", "amount_microusd")) == before
    assert not retention_due(later)


def test_an_account_s_own_days_come_before_the_installation_s(alice):
    Account.objects.update(retention_days=2)
    made(alice)
    assert not retention_due(timezone.now() + timedelta(days=1))
    assert retention_sweep(now=timezone.now() + timedelta(days=2, minutes=1)) == 1


def test_who_keeps_nothing_has_an_hour_to_fetch(alice):
    Account.objects.update(retention_days=0)
    generation = made(alice)
    assert retention_sweep(now=timezone.now() + timedelta(minutes=59)) == 0
    assert retention_sweep(now=timezone.now() + timedelta(minutes=61)) == 1
    assert Generation.objects.get(pk=generation.pk).erased_at is not None


def test_what_is_under_way_is_not_touched_and_not_forgotten(alice):
    Account.objects.update(retention_days=0)
    generation = place(alice).generation
    later = timezone.now() + timedelta(days=1)
    assert retention_sweep(now=later) == 0
    assert generation_settle(generation_id=generation.pk, result=delivered(generation), now=later)
    assert retention_sweep(now=later) == 1


def test_a_run_is_bounded_and_the_next_goes_on(alice, charlie):
    for member in (alice, alice, charlie):
        made(member)
    later = timezone.now() + timedelta(days=31)
    assert [retention_sweep(now=later, limit=2), retention_sweep(now=later, limit=2)] == [2, 1]
    assert not Generation.objects.filter(erased_at=None).exists()


def test_erasing_twice_changes_nothing(alice):
    generation = made(alice)
    assert generation_erase(generation, now=timezone.now())
    assert not generation_erase(Generation.objects.get(), now=timezone.now())


def given(generation: Generation, key: str) -> Generation:
    """The same call, as if it had been made of a picture."""
    generation.spec["init_images"] = [key]
    generation.save(update_fields=["spec"])
    return generation


@pytest.mark.parametrize("needed", [True, False])
def test_an_input_stays_while_another_call_needs_it(alice, needed):
    key = "inputs/" + "a" * 64 + ".png"
    get_storage().write(key, b"png", "image/png")
    generation = given(made(alice), key)
    if needed:
        given(place(alice).generation, key)
    assert generation_erase(generation, now=timezone.now())
    assert stands(key) == needed


def test_an_erased_call_is_still_answered(client, alice):
    generation = made(alice)
    generation_erase(generation, now=timezone.now())
    reply = client.post(f"/api/v7/images/fetch/{generation.pk}", {"key": alice.key}).json()
    assert (reply["status"], reply["output"]) == ("success", [])
    assert "deleted" in reply["notes"][0]
