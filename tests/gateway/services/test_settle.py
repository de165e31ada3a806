"""Settlement: charged for what was delivered, exactly once, whoever reports and however often."""

from datetime import timedelta

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from billing.models import Hold, LedgerEntry, UsageBucket, UsageDay
from gateway.services import generation_abort, generation_cancel, generation_settle
from gateway.services.leases import leases_sweep, render_failed_retry, waiting_sweep
from inference import render_control
from inference.errors import GenerationNotFound
from inference.models import Generation
from inference.states import generation_lease
from tests.support.money import fund, wallet_of
from tests.support.orders import delivered, failed, place


@pytest.fixture
def funded(alice):
    fund(alice.account, 100_000)
    UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=100)
    return alice


def settle(generation, result):
    return generation_settle(generation_id=generation.pk, result=result, now=timezone.now())


def lease(generation, *, until=None):
    generation_lease(generation_id=generation.pk, worker="w", lease_until=until or timezone.now())


def state_of(generation):
    return Generation.objects.get(pk=generation.pk).state


def test_delivered_images_are_charged_and_the_rest_released(funded):
    generation = place(funded, samples=4).generation
    assert settle(generation, delivered(generation, 3))
    row = Generation.objects.get()
    assert (row.state, row.images_delivered, row.charged_microusd) == ("succeeded", 3, 6_000)
    wallet = wallet_of(funded.account)
    assert (wallet.balance_microusd, wallet.held_microusd) == (94_000, 0)


def test_a_render_that_ended_before_its_first_heartbeat_has_a_beginning(funded):
    generation = place(funded).generation
    lease(generation)
    now = generation.created_at + timedelta(seconds=5)
    generation_settle(generation_id=generation.pk, result=delivered(generation), now=now)
    row = Generation.objects.get()
    assert row.finished_at - row.started_at == timedelta(milliseconds=row.result["run_ms"])


def test_its_wait_is_counted_from_its_admission_through_every_queue(funded):
    generation = place(funded).generation
    lease(generation)
    now = generation.created_at + timedelta(seconds=5)
    generation_settle(generation_id=generation.pk, result=delivered(generation), now=now)
    counted = UsageBucket.objects.get()
    assert (counted.wait_ms, counted.run_ms) == (3_800, 1_200)


def test_what_never_ran_has_none(funded):
    generation = place(funded).generation
    generation_cancel(account_id=funded.account.pk, generation_id=generation.pk, now=timezone.now())
    assert Generation.objects.get().started_at is None
    assert UsageBucket.objects.get().wait_ms == 0


def test_a_report_that_arrives_twice_charges_once(funded):
    generation = place(funded).generation
    assert settle(generation, delivered(generation))
    assert not settle(generation, delivered(generation))
    assert LedgerEntry.objects.filter(kind="capture").count() == 1
    assert UsageBucket.objects.get().calls == 1


def test_a_failure_costs_nothing_and_returns_the_call(alice):
    generation = place(alice).generation
    assert settle(generation, failed(generation))
    row = Generation.objects.get()
    assert (row.state, row.error_code, row.charged_microusd) == ("failed", "out_of_memory", 0)
    assert UsageDay.objects.get().calls == 0


def test_whoever_comes_after_an_abort_changes_nothing(funded):
    generation = place(funded).generation
    assert generation_abort(generation_id=generation.pk, error_code="expired", error_message="x", now=timezone.now())
    assert not settle(generation, delivered(generation))
    assert state_of(generation) == "failed"
    assert wallet_of(funded.account).balance_microusd == 100_000


def test_a_blanked_image_is_charged_as_delivered(funded):
    generation = place(funded, samples=2).generation
    settle(generation, delivered(generation, flagged=2))
    assert Generation.objects.get().charged_microusd == 4_000


def test_a_plan_may_spare_blanked_images(funded):
    generation = place(funded, samples=2, reply={"charge_flagged": False}).generation
    settle(generation, delivered(generation, flagged=1))
    assert Generation.objects.get().charged_microusd == 2_000


def test_the_roll_up_equals_the_ledger(funded):
    for samples in (1, 2, 3):
        generation = place(funded, samples=samples).generation
        settle(generation, delivered(generation))
    charged = -sum(LedgerEntry.objects.filter(kind="capture").values_list("amount_microusd", flat=True))
    assert sum(UsageBucket.objects.values_list("amount_microusd", flat=True)) == charged == 12_000


class TestCancel:
    def test_the_owner_cancels_and_pays_nothing(self, funded):
        generation = place(funded).generation
        assert generation_cancel(account_id=funded.account.pk, generation_id=generation.pk, now=timezone.now())
        assert state_of(generation) == "cancelled"
        assert Hold.objects.get().state == "released"
        assert wallet_of(funded.account).held_microusd == 0

    def test_its_render_worker_is_told_at_once(self, funded, monkeypatch):
        told = []
        monkeypatch.setattr(render_control, "cancel", lambda **item: told.append(item))
        waiting, running = place(funded).generation, place(funded).generation
        lease(running)
        for generation in (waiting, running):
            generation_cancel(account_id=funded.account.pk, generation_id=generation.pk, now=timezone.now())
        assert told == [{"worker": "w", "generation_id": running.pk, "attempt": 1}]

    def test_a_broker_that_is_away_cancels_no_less(self, funded, monkeypatch):
        def away(**item):
            raise OperationalError("no broker")

        monkeypatch.setattr(render_control, "cancel", away)
        generation = place(funded).generation
        lease(generation)
        assert generation_cancel(account_id=funded.account.pk, generation_id=generation.pk, now=timezone.now())
        assert state_of(generation) == "cancelled"

    def test_a_stranger_finds_nothing(self, alice, charlie):
        generation = place(alice).generation
        with pytest.raises(GenerationNotFound):
            generation_cancel(account_id=charlie.account.pk, generation_id=generation.pk, now=timezone.now())
        assert state_of(generation) == "waiting"

    def test_what_is_finished_stays_finished(self, funded):
        generation = place(funded).generation
        settle(generation, delivered(generation))
        assert not generation_cancel(account_id=funded.account.pk, generation_id=generation.pk, now=timezone.now())
        assert state_of(generation) == "succeeded"


class TestLeases:
    def test_a_lost_lease_returns_to_the_queue(self, alice):
        generation = place(alice).generation
        lease(generation)
        assert leases_sweep(now=timezone.now()) == 1
        row = Generation.objects.get()
        assert (row.state, row.attempt, row.worker) == ("waiting", 1, "")

    def test_after_the_last_attempt_it_fails_and_is_released(self, alice, settings):
        settings.RENDER_ATTEMPTS_MAX = 3
        generation = place(alice).generation
        for _ in range(3):
            lease(generation)
            leases_sweep(now=timezone.now())
        row = Generation.objects.get()
        assert (row.state, row.error_code, row.attempt) == ("failed", "render_lost", 3)
        assert UsageDay.objects.get().calls == 0

    def test_a_late_result_of_a_lost_lease_still_counts(self, alice):
        generation = place(alice).generation
        lease(generation)
        leases_sweep(now=timezone.now())
        assert settle(generation, delivered(generation, attempt=1))
        assert state_of(generation) == "succeeded"

    def test_a_retryable_failure_goes_to_another_worker(self, alice):
        generation = place(alice).generation
        lease(generation)
        result = failed(generation, attempt=1, retryable=True)
        assert render_failed_retry(generation_id=generation.pk, result=result, now=timezone.now())
        assert state_of(generation) == "waiting"

    def test_an_old_attempts_failure_does_not_touch_the_new_one(self, alice):
        generation = place(alice).generation
        for _ in range(2):
            lease(generation)
            leases_sweep(now=timezone.now())
        lease(generation)
        result = failed(generation, attempt=1, retryable=True)
        assert render_failed_retry(generation_id=generation.pk, result=result, now=timezone.now())
        assert Generation.objects.get().attempt == 3
        assert state_of(generation) == "running"

    def test_what_nobody_takes_in_time_fails_and_is_released(self, alice, settings):
        generation = place(alice).generation
        settings.GENERATION_EXPIRY_S = 0
        assert waiting_sweep(now=timezone.now()) == 1
        assert state_of(generation) == "failed"
        assert Hold.objects.get().state == "released"
