"""Render workers: what they say is shown and remembered, and what operations ask is recorded and sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.staff import StaffRole
from gateway.backoffice.machines import LOG_PATIENCE, earned_per_hour
from gateway.backoffice.worker_history import history
from gateway.dispatcher import slots_now
from gateway.models import StaffAction
from gateway.services import generation_settle
from gateway.tasks import worker_log
from inference.log_tail import LINE_CHARACTERS_MAX, LINES_MAX
from inference.models import RenderWorker, WorkerLog, WorkerMinute
from inference.services import SILENT_WORKERS_KEPT, worker_history_forget, worker_log_asked, worker_seen
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


def told(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "slots": 1, "memory_used_bytes": 1 << 30, "memory_budget_bytes": 4 << 30, **more}


class TestOneWorker:
    def test_its_machine_is_shown_and_what_it_does_not_tell_is_said_so(
        self, as_operations: Client, worker: RenderWorker
    ) -> None:
        page = as_operations.get("/console/workers/gpu-1").content.decode()
        assert "Driver</dt><dd>not told" in page
        machine = {"host": "rack-7", "gpu": "NVIDIA H100", "gpu_count": 8, "driver": "570.1", "gpu_celsius": 61}
        worker_seen(name="gpu-1", report=told("busy", machine=machine), now=timezone.now())
        page = as_operations.get("/console/workers/gpu-1").content.decode()
        for text in ("rack-7", "NVIDIA H100, one of 8", "570.1", "61 °C", "Utilisation</dt><dd>not told"):
            assert text in page

    def test_a_minute_is_one_sample_however_often_it_reports(self, db: None) -> None:
        now = timezone.now().replace(second=0, microsecond=0)
        for second in (0, 20, 40, 60):
            worker_seen(name="gpu-1", report=told("busy"), now=now + timedelta(seconds=second))
        assert list(WorkerMinute.objects.values_list("minute", flat=True)) == [now, now + timedelta(minutes=1)]

    def test_its_day_says_for_how_long_it_was_in_which_state(self, as_operations: Client, db: None) -> None:
        now = timezone.now().replace(second=0, microsecond=0)
        for minute in range(60, 0, -1):
            if minute % 4:
                busy, celsius = minute > 30, 50 + minute // 4
                report = told("busy" if busy else "idle", machine={"gpu_percent": 80 * busy, "gpu_celsius": celsius})
                worker_seen(name="gpu-1", report=report, now=now - timedelta(minutes=minute))
        day = history(RenderWorker.objects.get(), now)
        # The minute of its first message is one of three quarters of an hour; it was not there before.
        assert dict(day["states"]) == {"Busy": 22, "Idle": 23, "Silent": 14}
        assert ("Highest temperature", "64\N{NO-BREAK SPACE}°C") in day["peaks"]
        assert ("Most memory of the device", "not told") in day["peaks"]
        busy, heard, memory, device = day["chart"]["data"][1:]
        assert (busy[-4:], heard[-1], memory[-1], device[-1]) == ([73.3, 73.3, 0.0, 0.0], 80.0, 25.0, 0.0)
        assert (heard[0], memory[0]) == (0.0, None)
        page = as_operations.get("/console/workers/gpu-1").content.decode()
        assert "22\N{NO-BREAK SPACE}min" in page

    def test_a_worker_that_was_away_all_day_is_told_to_be(self, as_operations: Client, db: None) -> None:
        worker_seen(name="gpu-1", report=told("idle"), now=timezone.now() - timedelta(days=3))
        assert "nothing in the last 24 hours" in as_operations.get("/console/workers/gpu-1").content.decode()

    def test_what_is_over_its_time_is_forgotten(self, worker: RenderWorker) -> None:
        now = timezone.now()
        assert worker_history_forget(now=now + timedelta(hours=47), limit=10) == 0
        assert worker_history_forget(now=now + timedelta(hours=49), limit=10) == 1
        assert not WorkerMinute.objects.exists()

    def test_its_page_asks_few_queries(self, as_operations: Client, worker: RenderWorker) -> None:
        as_operations.get("/console/workers/gpu-1")
        with CaptureQueriesContext(connection) as asked:
            as_operations.get("/console/workers/gpu-1")
        assert len(asked) <= 10

    def test_restarting_is_recorded_and_sent(self, as_operations: Client, worker: RenderWorker, sent: Sent) -> None:
        page = as_operations.get("/console/workers/gpu-1").content.decode()
        assert "If nothing supervises it, it stays away" in page
        as_operations.post("/console/workers/gpu-1/restart")
        assert [(args, queue) for _, args, queue in sent] == [(["restart", {}], "control.gpu-1")]
        assert StaffAction.objects.get().action == "worker restart"
        worker_seen(name="gpu-1", report=told("draining", restarting=True), now=timezone.now())
        assert "Restarting" in as_operations.get("/console/workers/gpu-1").content.decode()
        assert not slots_now(timezone.now())

    def test_a_worker_that_is_away_is_asked_for_nothing_but_may_be_drained(
        self, as_operations: Client, worker: RenderWorker, sent: Sent
    ) -> None:
        worker_seen(name="gpu-1", report=told("lost"), now=timezone.now())
        page = as_operations.get("/console/workers/gpu-1").content.decode()
        assert "nothing else can be asked of it" in page
        assert not any(f"gpu-1/{command}" in page for command in ("restart", "log", "preload"))
        assert "is away" in as_operations.post("/console/workers/gpu-1/restart", follow=True).content.decode()
        assert (sent, StaffAction.objects.count()) == ([], 0)
        as_operations.post("/console/workers/gpu-1/drain")
        assert RenderWorker.objects.get().draining


class TestLog:
    def test_it_is_asked_for_shown_when_it_comes_and_on_record(
        self, as_operations: Client, worker: RenderWorker, sent: Sent
    ) -> None:
        assert "Not asked for yet" in as_operations.get("/console/workers/gpu-1").content.decode()
        as_operations.post("/console/workers/gpu-1/log")
        assert sent[0][1] == ["log", {"lines": LINES_MAX}]
        assert StaffAction.objects.get().action == "worker log"
        waiting = as_operations.get("/console/workers/gpu-1/last-lines").content.decode()
        assert "hx-get" in waiting
        worker_log("gpu-1", ["INFO one", "INFO two <b>"])
        page = as_operations.get("/console/workers/gpu-1/last-lines").content.decode()
        assert "hx-get" not in page
        assert "INFO one\nINFO two &lt;b&gt;" in page

    def test_what_nobody_asked_for_is_not_kept_and_too_much_is_cut(self, worker: RenderWorker) -> None:
        worker_log("gpu-1", ["unasked"])
        assert not WorkerLog.objects.exists()
        WorkerLog.objects.create(worker="gpu-1", asked_at=timezone.now())
        worker_log("gpu-1", ["x" * 10_000] * 1000)
        lines = WorkerLog.objects.get().lines
        assert (len(lines), len(lines[0])) == (LINES_MAX, LINE_CHARACTERS_MAX)

    def test_a_worker_that_does_not_answer_is_not_asked_for_ever(
        self, as_operations: Client, worker: RenderWorker
    ) -> None:
        WorkerLog.objects.create(worker="gpu-1", asked_at=timezone.now() - LOG_PATIENCE)
        page = as_operations.get("/console/workers/gpu-1/last-lines").content.decode()
        assert "No answer" in page
        assert "hx-get" not in page

    def test_only_those_who_steer_machines_read_it(self, as_staff: AsStaff, worker: RenderWorker) -> None:
        WorkerLog.objects.create(worker="gpu-1", asked_at=timezone.now(), told_at=timezone.now(), lines=["a line"])
        assert "a line" not in as_staff(StaffRole.SUPPORT).get("/console/workers/gpu-1").content.decode()
        assert "a line" in as_staff(StaffRole.OPERATIONS).get("/console/workers/gpu-1").content.decode()


class TestForgetting:
    @pytest.fixture
    def away(self, worker: RenderWorker) -> RenderWorker:
        """gpu-1, drained, lost and silent for longer than an hour."""
        silent = timezone.now() - timedelta(minutes=61)
        RenderWorker.objects.update(state="lost", draining=True, last_seen_at=silent)
        return RenderWorker.objects.get()

    def test_one_that_stays_away_is_forgotten_with_what_it_told(
        self, as_operations: Client, payer: Member, away: RenderWorker
    ) -> None:
        call = place(payer).generation
        generation_lease(generation_id=call.pk, worker="gpu-1", lease_until=timezone.now())
        generation_settle(generation_id=call.pk, result=delivered(call, attempt=1), now=timezone.now())
        worker_log_asked(name="gpu-1", now=timezone.now())
        assert '/console/workers/gpu-1"' in as_operations.get(f"/console/requests/{call.pk}").content.decode()
        page = as_operations.post("/console/workers/gpu-1/forget", follow=True).content.decode()
        assert "gpu-1 is forgotten." in page
        assert not any(rows.objects.exists() for rows in (RenderWorker, WorkerMinute, WorkerLog))
        action = StaffAction.objects.get()
        assert (action.action, action.target, action.before["draining"]) == ("worker forget", "worker:gpu-1", True)
        page = as_operations.get(f"/console/requests/{call.pk}").content.decode()
        assert "gpu-1" in page
        assert "/console/workers/gpu-1" not in page
        worker_seen(name="gpu-1", report=told("idle"), now=timezone.now())
        assert not RenderWorker.objects.get().draining

    @pytest.mark.parametrize(
        "said",
        [
            {"state": "idle"},
            {"last_seen_at": timezone.now() + timedelta(minutes=5)},
        ],
        ids=["not lost", "heard of"],
    )
    def test_one_that_may_come_back_stays(
        self, as_operations: Client, away: RenderWorker, said: dict[str, Any]
    ) -> None:
        RenderWorker.objects.update(**said)
        page = as_operations.post("/console/workers/gpu-1/forget", follow=True).content.decode()
        assert "gpu-1 stays: it was heard of in the last hour, or holds a call." in page
        assert (RenderWorker.objects.count(), WorkerMinute.objects.count(), StaffAction.objects.count()) == (1, 1, 0)

    def test_one_that_holds_a_call_stays(self, as_operations: Client, payer: Member, away: RenderWorker) -> None:
        call = place(payer).generation
        generation_lease(generation_id=call.pk, worker="gpu-1", lease_until=timezone.now())
        as_operations.post("/console/workers/gpu-1/forget")
        assert RenderWorker.objects.exists()
        worker_history_forget(now=timezone.now() + SILENT_WORKERS_KEPT, limit=10)
        assert RenderWorker.objects.exists()

    def test_it_is_offered_only_where_it_would_happen(self, as_operations: Client, away: RenderWorker) -> None:
        for path in ("/console/workers", "/console/workers/gpu-1"):
            assert "gpu-1/forget" in as_operations.get(path).content.decode()
        RenderWorker.objects.update(last_seen_at=timezone.now() - timedelta(minutes=59))
        for path in ("/console/workers", "/console/workers/gpu-1"):
            assert "gpu-1/forget" not in as_operations.get(path).content.decode()

    def test_who_may_not_steer_machines_forgets_none(self, as_staff: AsStaff, away: RenderWorker) -> None:
        support = as_staff(StaffRole.SUPPORT)
        assert "gpu-1/forget" not in support.get("/console/workers").content.decode()
        assert support.post("/console/workers/gpu-1/forget").status_code == 403
        assert RenderWorker.objects.exists()

    def test_after_sixty_days_of_silence_it_happens_by_itself(self, away: RenderWorker) -> None:
        seen = away.last_seen_at
        WorkerMinute.objects.all().delete()
        assert worker_history_forget(now=seen + SILENT_WORKERS_KEPT, limit=10) == 0
        assert worker_history_forget(now=seen + SILENT_WORKERS_KEPT + timedelta(seconds=1), limit=10) == 1
        assert not RenderWorker.objects.exists()
