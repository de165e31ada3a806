"""One turn of the dispatcher: what waits is leased to who has room and sent, and an idle turn asks next to nothing."""

from types import SimpleNamespace

import pytest
from django.utils import timezone

from gateway import dispatcher
from gateway.dispatch import Fairness
from inference.models import Generation, GenerationState, RenderWorker, WorkerState
from tests.support.orders import place

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(dispatcher.render_control, "render", lambda **message: messages.append(message))
    return messages


@pytest.fixture
def worker(db):
    return RenderWorker.objects.create(name="one", state=WorkerState.IDLE, slots=1, last_seen_at=timezone.now())


def turn():
    return dispatcher.dispatch(Fairness(), now=timezone.now())


def test_an_idle_turn_asks_one_question(worker, sent, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert turn() == 0


def test_a_waiting_call_is_leased_and_sent_once(alice, worker, sent):
    first, second = place(alice).generation, place(alice).generation
    assert turn() == 1
    assert turn() == 0  # the worker's one slot is taken
    leased = Generation.objects.get(pk=first.pk)
    assert (leased.state, leased.worker, leased.attempt) == (GenerationState.RUNNING, "one", 1)
    assert leased.lease_until > timezone.now()
    assert [(one["worker"], one["generation_id"], one["attempt"]) for one in sent] == [("one", first.pk, 1)]
    assert Generation.objects.get(pk=second.pk).state == GenerationState.WAITING


@pytest.mark.parametrize(
    "change", [{"draining": True}, {"state": WorkerState.LOST}, {"last_seen_at": "long ago"}, {"slots": 0}]
)
def test_a_worker_that_cannot_take_it_gets_nothing(alice, worker, sent, change):
    if "last_seen_at" in change:
        change = {"last_seen_at": timezone.now() - 2 * dispatcher.WORKER_SILENT}
    RenderWorker.objects.update(**change)
    place(alice)
    assert turn() == 0
    assert sent == []


def test_the_duty_is_renewed_all_the_time(db, monkeypatch):
    """Else a second dispatcher would take it over while the first still works."""
    clock, turns, renewals = [0.0], [], []
    leader = dispatcher.Dispatcher()

    def turn():
        turns.append(clock[0])
        clock[0] += 0.4
        if len(turns) == 50:
            leader.stop()

    monkeypatch.setattr(dispatcher, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(leader, "_turn", turn)
    monkeypatch.setattr(leader, "_lead", lambda: renewals.append(clock[0]) or True)
    leader.run()
    gaps = [later - earlier for earlier, later in zip(renewals, [*renewals[1:], clock[0]], strict=True)]
    assert max(gaps) < dispatcher.LEADERSHIP.total_seconds() / 2


def test_who_does_not_have_the_duty_does_nothing(db, monkeypatch):
    standby = dispatcher.Dispatcher()
    monkeypatch.setattr(standby, "_lead", standby.stop)  # answers None: somebody else has it
    monkeypatch.setattr(standby, "_turn", lambda: pytest.fail("it worked without the duty"))
    monkeypatch.setattr(standby._stopping, "wait", lambda timeout: True)
    standby.run()
