"""Render workers and the queue: what workers say is shown, and what operations ask is recorded and sent."""

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
from gateway.backoffice.machines import earned_per_hour, lines
from gateway.dispatcher import slots_now
from gateway.models import StaffAction
from gateway.services import generation_settle
from inference.models import Generation, GenerationState, RenderWorker
from inference.services import worker_seen
from inference.states import generation_lease
from tests.backoffice.conftest import AsStaff
from tests.conftest import Member
from tests.support.money import move_to
from tests.support.orders import delivered, place

Sent = list[tuple[str, list[Any], str]]


@pytest.fixture
def worker(db: None) -> RenderWorker:
    report = {
        "state": "idle",
        "slots": 2,
        "resident": ["demo"],
        "resident_models": [{"model_id": "demo", "kind": "model", "bytes": 2 << 30, "pinned": True}],
        "pinned": ["demo", "later"],
        "running": [{"generation_id": 7, "attempt": 1, "step": 5, "steps": 20}],
        "images": 120,
        "uptime_s": 3600,
        "run_ms_p50": 1500,
    }
    worker_seen(name="gpu-1", report=report, now=timezone.now())
    return RenderWorker.objects.get(pk="gpu-1")


@pytest.fixture
def as_operations(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.OPERATIONS)


class TestWorkers:
    def test_a_worker_is_shown_as_it_reports_itself(self, as_operations: Client, worker: RenderWorker) -> None:
        page = as_operations.get("/console/workers").content.decode()
        for text in ("gpu-1", "2.0\N{NO-BREAK SPACE}GiB", "step 5 of 20", "120.0", "1.5\N{NO-BREAK SPACE}s"):
            assert text in page

    def test_a_pinned_model_may_be_unpinned_and_not_evicted(self, as_operations: Client, worker: RenderWorker) -> None:
        page = as_operations.get("/console/workers").content.decode()
        assert "gpu-1/unpin" in page
        assert "gpu-1/evict" not in page
        assert "later" in page
        assert "pinned, not in memory" in page

    def test_each_worker_earns_what_its_own_calls_were_charged(
        self,
        payer: Member,
        worker: RenderWorker,
    ) -> None:
        now = timezone.now()
        move_to(payer.account, "payg")
        calls = [place(payer).generation for _ in range(3)]
        for name, call in zip(("gpu-1", "gpu-1", "gpu-2"), calls, strict=True):
            generation_lease(generation_id=call.pk, worker=name, lease_until=now + timedelta(minutes=1))
            generation_settle(generation_id=call.pk, result=delivered(call, attempt=1), now=now)
        one = calls[0].unit_price_microusd
        assert earned_per_hour(timezone.now()) == {"gpu-1": 2 * one, "gpu-2": one}
        assert earned_per_hour(timezone.now() + timedelta(hours=2)) == {}

    def test_a_worker_that_says_little_is_shown_too(self, as_operations: Client) -> None:
        worker_seen(name="bare", report={"state": "lost", "slots": 1}, now=timezone.now())
        assert "bare" in as_operations.get("/console/workers").content.decode()

    def test_draining_is_sent_recorded_and_ends_assignments(
        self, as_operations: Client, worker: RenderWorker, sent: Sent
    ) -> None:
        assert slots_now(timezone.now())
        assert as_operations.post("/console/workers/gpu-1/drain").status_code == 302
        assert not slots_now(timezone.now())
        assert sent[0][1] == ["drain", {"draining": True}]
        action = StaffAction.objects.get()
        assert (action.action, action.before, action.after) == (
            "worker drain", {"draining": False}, {"draining": True},
        )  # fmt: skip
        as_operations.post("/console/workers/gpu-1/resume")
        assert slots_now(timezone.now())

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            ("evict", {"model_id": "demo"}),
            ("pin", {"model_id": "demo", "pinned": True}),
            ("unpin", {"model_id": "demo", "pinned": False}),
        ],
    )
    def test_models_are_steered_by_messages(
        self, as_operations: Client, worker: RenderWorker, sent: Sent, command: str, message: dict[str, Any]
    ) -> None:
        as_operations.post(f"/console/workers/gpu-1/{command}", {"model": "demo"})
        assert sent[0][1] == [command.removeprefix("un"), message]
        assert StaffAction.objects.get().after["model"] == "demo"

    def test_preloading_sends_the_whole_reference(
        self, as_operations: Client, worker: RenderWorker, sent: Sent
    ) -> None:
        as_operations.post("/console/workers/gpu-1/preload", {"model": "demo"})
        assert sent[0][1][1]["model"]["source"] == "embedded:demo"

    def test_a_model_that_there_is_not_is_told_and_neither_sent_nor_recorded(
        self, as_operations: Client, worker: RenderWorker, sent: Sent
    ) -> None:
        answer = as_operations.post("/console/workers/gpu-1/preload", {"model": "dem"}, follow=True)
        assert "There is no model dem." in answer.content.decode()
        assert (sent, StaffAction.objects.count()) == ([], 0)

    @pytest.mark.parametrize("path", ["gpu-2/drain", "gpu-1/explode", "gpu-1/evict"])
    def test_what_there_is_not_is_not_found(
        self, as_operations: Client, worker: RenderWorker, sent: Sent, path: str
    ) -> None:
        assert as_operations.post(f"/console/workers/{path}").status_code == 404
        assert (sent, StaffAction.objects.count()) == ([], 0)


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
        assert len(asked) <= 11
