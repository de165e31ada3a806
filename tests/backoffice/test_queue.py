"""The queue: what waits per model and priority, what keeps failing, and what operations do to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.staff import StaffRole
from gateway.audit import audit
from gateway.backoffice.queue import lines, poison_ids
from gateway.models import StaffAction
from gateway.services import generation_settle
from gateway.services.leases import leases_sweep
from gateway.tasks import outcome
from inference.engine.spec import RenderResult
from inference.erasing import generation_erase
from inference.models import Generation, GenerationState, RenderFault
from inference.services import worker_seen
from inference.states import generation_lease
from tests.backoffice.conftest import AsStaff
from tests.conftest import Member
from tests.support.money import move_to
from tests.support.orders import delivered, place

Sent = list[tuple[str, list[Any], str]]
TRACE = 'Traceback (most recent call last):\n  File "attention.py", line 7, in forward\nRuntimeError: shapes'


@pytest.fixture
def as_operations(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.OPERATIONS)


def fails(generation: Generation, attempt: int, *, retryable: bool = True) -> None:
    """One attempt, leased and reported as failed."""
    lease_until = timezone.now() + timedelta(minutes=1)
    generation_lease(generation_id=generation.pk, worker=f"gpu-{attempt}", lease_until=lease_until)
    result = RenderResult(
        token=generation.token, attempt=attempt, error_code="engine_error", error_message="The engine failed.",
        retryable=retryable, trace=TRACE,
    )  # fmt: skip
    outcome(generation.pk, result.to_dict())


class TestQueue:
    @pytest.fixture
    def waiting(self, alice: Member) -> list[Generation]:
        move_to(alice.account, "premium")
        return [place(alice).generation for _ in range(3)]

    def act(self, client: Client, what: str, *generations: Generation, **more: Any) -> None:
        form = {"act": what, "id": [generation.pk for generation in generations], **more}
        assert client.post("/console/queue/act", form).status_code == 302

    def test_the_wait_is_predicted_from_what_was_served(self, alice: Member, waiting: list[Generation]) -> None:
        now = timezone.now()
        worker_seen(name="gpu-1", report={"state": "idle", "slots": 2}, now=now)
        generation_settle(generation_id=waiting[0].pk, result=delivered(waiting[0]), now=now)
        line = lines(now + timedelta(seconds=9))[0]
        assert (line.model_id, line.waiting, line.running) == ("demo", 2, 0)
        assert line.predicted_wait_s == pytest.approx(2 * 1.2 / 2)
        assert line.oldest_s >= 9

    def test_cancelling_releases_the_hold(self, as_operations: Client, waiting: list[Generation]) -> None:
        self.act(as_operations, "cancel", waiting[0], waiting[1], reason="runaway script")
        states = Generation.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["cancelled", "cancelled", "waiting"]
        assert [finding for finding in audit() if not finding.passed] == []
        assert set(StaffAction.objects.values_list("reason", flat=True)) == {"runaway script"}

    def test_a_running_call_goes_back_to_the_queue_and_its_worker_is_told(
        self, as_operations: Client, waiting: list[Generation], sent: Sent
    ) -> None:
        one = waiting[0]
        generation_lease(generation_id=one.pk, worker="gpu-1", lease_until=timezone.now() + timedelta(minutes=1))
        self.act(as_operations, "requeue", *waiting)
        one.refresh_from_db()
        assert (one.state, one.worker, one.attempt) == (GenerationState.WAITING, "", 1)
        assert sent[0][1] == ["cancel", {"generation_id": one.pk, "attempt": 1}]
        assert StaffAction.objects.count() == 1

    def test_a_raised_priority_is_served_first(self, as_operations: Client, waiting: list[Generation]) -> None:
        self.act(as_operations, "priority", waiting[2], priority="10")
        assert Generation.objects.order_by("-priority").first() == waiting[2]
        assert StaffAction.objects.get().before["priority"] == 0

    def test_what_is_settled_stays(self, as_operations: Client, waiting: list[Generation]) -> None:
        generation_settle(generation_id=waiting[0].pk, result=delivered(waiting[0]), now=timezone.now())
        self.act(as_operations, "cancel", waiting[0])
        waiting[0].refresh_from_db()
        assert (waiting[0].state, StaffAction.objects.count()) == (GenerationState.SUCCEEDED, 0)

    @pytest.mark.parametrize("form", [{"act": "explode"}, {"act": "priority", "priority": "99"}])
    def test_other_acts_are_not_found(self, as_operations: Client, form: dict[str, str]) -> None:
        assert as_operations.post("/console/queue/act", form).status_code == 404

    def test_its_queries_do_not_grow_with_the_queue(self, as_operations: Client, waiting: list[Generation]) -> None:
        with CaptureQueriesContext(connection) as asked:
            page = as_operations.get("/console/queue").content.decode()
        assert all(str(generation.pk) in page for generation in waiting)
        assert len(asked) <= 13

    def test_each_priority_has_its_line_and_waits_for_those_before_it(
        self, alice: Member, waiting: list[Generation]
    ) -> None:
        now = timezone.now()
        generation_settle(generation_id=waiting[0].pk, result=delivered(waiting[0]), now=now)
        Generation.objects.filter(pk=waiting[1].pk).update(priority=10)
        report = {"state": "idle", "slots": 1, "max_rows": 16, "rows_per_forward": {"demo": 5.5}}
        worker_seen(name="gpu-1", report=report, now=now)
        first, second = lines(now)
        assert (first.priority, first.waiting, first.predicted_wait_s) == (10, 1, pytest.approx(1.2))
        assert (second.priority, second.waiting, second.predicted_wait_s) == (0, 1, pytest.approx(2.4))
        assert (first.priority_words, first.first, second.first) == ("Before all others", True, False)
        assert (first.rows, first.rows_max) == (5.5, 16)


class TestInBulk:
    @pytest.fixture
    def runaway(self, alice: Member, charlie: Member) -> list[Generation]:
        for member in (alice, charlie):
            move_to(member.account, "premium")
        return [place(member).generation for member in (alice, alice, charlie)]

    def send(self, client: Client, act: str, **form: Any) -> str:
        answer = client.post("/console/queue/act", {"act": act, "scope": "fitting", **form}, follow=True)
        return answer.content.decode()

    def test_all_of_an_account_are_cancelled_and_no_other(
        self, as_operations: Client, alice: Member, runaway: list[Generation]
    ) -> None:
        page = as_operations.get(f"/console/queue?account={alice.account.pk}").content.decode()
        assert [str(one.pk) in page for one in runaway] == [True, True, False]
        assert "2 of 2 changed" in self.send(
            as_operations, "cancel", account=alice.account.pk, reason="a script that ran away"
        )
        states = Generation.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["cancelled", "cancelled", "waiting"]
        assert [finding for finding in audit() if not finding.passed] == []
        assert StaffAction.objects.filter(reason="a script that ran away").count() == 2

    def test_without_a_reason_nothing_happens(self, as_operations: Client, runaway: list[Generation]) -> None:
        assert "say why" in self.send(as_operations, "cancel")
        assert not Generation.objects.filter(state=GenerationState.CANCELLED).exists()
        assert not StaffAction.objects.exists()

    def test_a_great_many_are_taken_in_parts(
        self, as_operations: Client, runaway: list[Generation], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.backoffice.queue.BULK_MAX", 2)
        first = self.send(as_operations, "priority", priority="5", reason="a demonstration")
        assert "2 of 2 changed" in first
        assert "send it again" in first
        assert "1 of 1 changed" in self.send(as_operations, "priority", priority="5", reason="a demonstration")
        assert set(Generation.objects.values_list("priority", flat=True)) == {5}

    def test_only_what_runs_goes_back_to_the_queue(
        self, as_operations: Client, runaway: list[Generation], sent: Sent
    ) -> None:
        generation_lease(generation_id=runaway[2].pk, worker="gpu-1", lease_until=timezone.now())
        assert "1 of 1 changed" in self.send(as_operations, "requeue", model="demo", reason="gpu-1 hangs")
        assert [args for _, args, _ in sent] == [["cancel", {"generation_id": runaway[2].pk, "attempt": 1}]]


class TestPoison:
    @pytest.fixture
    def call(self, alice: Member) -> Generation:
        return place(alice).generation

    def test_a_call_that_failed_twice_is_listed_with_where_and_why(
        self, as_operations: Client, as_staff: AsStaff, call: Generation
    ) -> None:
        fails(call, 1)
        assert poison_ids(timezone.now()) == []
        fails(call, 2)
        assert poison_ids(timezone.now()) == [call.pk]
        page = as_operations.get("/console/queue").content.decode()
        for text in ("engine_error", "gpu-1", "gpu-2", "RuntimeError: shapes"):
            assert text in page
        assert "RuntimeError: shapes" in as_operations.get(f"/console/requests/{call.pk}").content.decode()
        assert "RuntimeError: shapes" not in as_staff(StaffRole.SUPPORT).get("/console/queue").content.decode()

    def test_a_worker_that_never_answers_is_an_attempt_too(self, call: Generation) -> None:
        now = timezone.now()
        generation_lease(generation_id=call.pk, worker="gpu-1", lease_until=now - timedelta(seconds=1))
        leases_sweep(now=now)
        fault = RenderFault.objects.get()
        assert (fault.generation_id, fault.attempt, fault.worker, fault.code) == (call.pk, 1, "gpu-1", "lease_ran_out")

    def test_the_caller_never_sees_the_traceback(self, call: Generation) -> None:
        fails(call, 1, retryable=False)
        call.refresh_from_db()
        assert call.state == GenerationState.FAILED
        assert "shapes" not in f"{call.result}{call.error_message}"

    def test_told_twice_it_stands_once_and_a_cancel_is_no_fault(self, call: Generation) -> None:
        fails(call, 1)
        fails(call, 1)
        assert RenderFault.objects.count() == 1
        cancelled = RenderResult(token=call.token, attempt=2, error_code="cancelled", error_message="It was cancelled.")
        outcome(call.pk, cancelled.to_dict())
        assert RenderFault.objects.count() == 1

    def test_erasing_the_call_erases_what_a_message_may_quote(self, call: Generation) -> None:
        fails(call, 1, retryable=False)
        call.refresh_from_db()
        generation_erase(call, now=timezone.now())
        fault = RenderFault.objects.get()
        assert (fault.code, fault.message, fault.trace) == ("engine_error", "", "")
