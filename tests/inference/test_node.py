"""A render worker's duties around its engine: once per attempt, outcomes kept and repeated, failures told."""

import io
import logging
import threading
import time

import pytest
from kombu.exceptions import OperationalError
from PIL import Image

from inference import log_tail
from inference import node as node_module
from inference.broker import LOG_TASK, OUTCOME_TASK
from inference.engine import EngineStatus, RenderFailed
from inference.engine.outputs import JobProgress
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec
from inference.node import RenderNode
from inference.storage import preview_key
from inference.storage.files import FileStorage
from tests.support.instant_worker import InstantEngine, InstantJob


def spec(**changes):
    return RenderSpec(
        **{
            "token": "0" * 32,
            "account": "1",
            "operation": Operation.TEXT_TO_IMAGE,
            "model": ModelRef(model_id="demo", family=Family.SD15, source="embedded:demo"),
            "prompt": "a red circle",
            "width_px": 64,
            "height_px": 64,
            "seed": 5,
            "samples": 2,
            "output_keys": tuple(f"generations/{'0' * 32}-{index}.png" for index in range(2)),
        }
        | changes
    )


class CountingEngine(InstantEngine):
    def __init__(self, failure=None):
        super().__init__()
        self.submitted = 0
        self.failure = failure

    def submit(self, spec, inputs=None, on_event=None):
        self.submitted += 1
        if self.failure:
            raise self.failure
        return InstantJob(spec, on_event)


@pytest.fixture
def sent():
    return []


def make(tmp_path, sent, **changes):
    more = {"end": changes["end"]} if "end" in changes else {}
    return RenderNode(
        name="w",
        slots=2,
        engine=changes.get("engine") or CountingEngine(),
        storage=FileStorage(tmp_path),
        send=lambda task, args: sent.append((task, args)),
        **more,
    )


@pytest.mark.parametrize("problem", [OperationalError("away"), OSError("cut"), AttributeError("unforeseen")])
def test_no_trouble_ends_the_heartbeats(tmp_path, sent, monkeypatch, problem):
    monkeypatch.setattr(node_module, "HEARTBEAT_IDLE_S", 0.01)
    node, left = make(tmp_path, sent), [problem, problem]
    tell = node._send

    def send(task, args):
        if left:
            raise left.pop()
        tell(task, args)

    node._send = send
    teller = threading.Thread(target=node.heartbeat_forever, args=("heartbeat",))
    teller.start()
    until(lambda: sent)
    node.goodbye("heartbeat")
    teller.join(30)
    assert not left


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("preload", {"model": ModelRef(model_id="demo", family=Family.SD15, source="embedded:demo").to_dict()}),
        ("pin", {"model_id": "demo", "pinned": True}),
        ("evict", {"model_id": "demo"}),
        ("drain", {"draining": True}),
    ],
)
def test_what_a_command_did_is_told_before_the_next_heartbeat(tmp_path, sent, monkeypatch, command, arguments):
    monkeypatch.setattr(node_module, "HEARTBEAT_IDLE_S", 3600)
    node = make(tmp_path, sent)
    teller = threading.Thread(target=node.heartbeat_forever, args=("heartbeat",))
    teller.start()
    until(lambda: len(sent) == 1)
    node.control(command, arguments)
    until(lambda: len(sent) == 2)
    node.goodbye("heartbeat")
    teller.join(30)


def test_a_render_stores_every_picture_at_its_promised_key(tmp_path, sent):
    result = make(tmp_path, sent).render(1, 1, spec())
    assert [image.seed for image in result.images] == [5, 6]
    for image in result.images:
        opened = Image.open(io.BytesIO((tmp_path / image.key).read_bytes()))
        assert opened.size == (64, 64)
        assert f", Seed: {image.seed}, " in opened.text["parameters"]


def test_an_attempt_is_rendered_once_and_its_outcome_given_again(tmp_path, sent):
    node = make(tmp_path, sent)
    assert node.render(1, 1, spec()) == node.render(1, 1, spec())
    assert node.engine.submitted == 1


def test_an_outcome_that_never_arrived_is_sent_again_when_asked(tmp_path, sent, monkeypatch):
    monkeypatch.setattr(node_module, "OUTCOME_OVERDUE_S", 0)
    node = make(tmp_path, sent)
    result = node.render(7, 2, spec())
    assert node.report()["finished"] == [[7, 2]]
    node.control("repeat", {"outcomes": [[7, 2], [8, 1]]})
    assert sent == [(OUTCOME_TASK, [7, result.to_dict()])]


def test_kept_outcomes_are_forgotten_in_time(tmp_path, sent, monkeypatch):
    node = make(tmp_path, sent)
    node.render(7, 2, spec())
    monkeypatch.setattr(node_module, "OUTCOME_KEPT_S", 0)
    assert node.report()["finished"] == []
    node.control("repeat", {"outcomes": [[7, 2]]})
    assert sent == []


def test_an_engines_refusal_is_told_with_its_code(tmp_path, sent):
    failure = RenderFailed(code="model_missing", message="There is no model.", retryable=False)
    result = make(tmp_path, sent, engine=CountingEngine(failure)).render(1, 1, spec())
    assert (result.error_code, result.retryable, result.images) == ("model_missing", False, ())


def test_an_unforeseen_failure_is_tried_elsewhere_and_tells_no_secrets(tmp_path, sent):
    result = make(tmp_path, sent, engine=CountingEngine(OSError("/secret/path"))).render(1, 1, spec())
    assert (result.error_code, result.retryable) == ("render_failed", True)
    assert "/secret" not in result.error_message
    assert "OSError: /secret/path" in result.trace


def test_a_missing_input_fails_this_render_alone(tmp_path, sent):
    result = make(tmp_path, sent).render(1, 1, spec(init_images=("inputs/" + "a" * 64 + ".png",)))
    assert result.failed
    assert make(tmp_path, sent).render(2, 1, spec()).images


PREVIEW = preview_key(token="0" * 32, expires_epoch_s=4_000_000_000)


class HeldJob:
    """A job that ends when the test says so."""

    def __init__(self):
        self.end = threading.Event()

    def cancel(self):
        self.end.set()

    def result(self, timeout=None):
        assert self.end.wait(30)
        raise RenderFailed(code="cancelled", message="The generation was cancelled.")


class HeldEngine(CountingEngine):
    def submit(self, spec, inputs=None, on_event=None):
        self.job, self.on_event = HeldJob(), on_event
        return self.job

    def status(self):
        progress = JobProgress(images_done=1, images=2, step=3, steps=10, steps_done=13, state="drawing")
        return EngineStatus(device="none", dtype="none", progress={"0" * 32: progress})


def until(reached, timeout_s=30):
    end_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end_s
        time.sleep(0.005)


class Held:
    """A node with one render under way."""

    def __init__(self, tmp_path, sent, end=None, **changes):
        self.node = make(tmp_path, sent, engine=HeldEngine(), **({"end": end} if end else {}))
        self.thread = threading.Thread(target=self.node.render, args=(9, 1, spec(**changes)))
        self.thread.start()
        until(lambda: hasattr(self.node.engine, "job"))

    def end(self):
        self.node.engine.job.cancel()
        self.thread.join(30)
        assert not self.thread.is_alive()


def preview_event(colour):
    return {"type": "preview", "preview": Image.new("RGB", (32, 16), colour)}


class TestRestarting:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        monkeypatch.setattr(node_module, "RESTART_CALM_S", 0.05)

    def test_an_idle_worker_ends_once_and_says_before_that_it_takes_no_more(self, tmp_path, sent):
        ended = []
        node = make(tmp_path, sent, end=lambda: ended.append(True))
        teller = threading.Thread(target=node.heartbeat_forever, args=("heartbeat",))
        teller.start()
        until(lambda: sent)
        node.control("restart", {})
        node.control("restart", {})
        until(lambda: ended)
        until(lambda: sent[-1][1][1]["restarting"])
        assert sent[-1][1][1]["state"] == "draining"
        node.control("drain", {"draining": False})
        assert node.draining
        node.goodbye("heartbeat")
        teller.join(30)
        assert (ended, sent[-1][1][1]["state"]) == ([True], "lost")

    def test_what_is_under_way_is_finished_first(self, tmp_path, sent):
        ended = []
        held = Held(tmp_path, sent, end=lambda: ended.append(True))
        held.node.control("restart", {})
        time.sleep(0.3)
        assert ended == []
        held.end()
        until(lambda: ended)

    def test_what_takes_too_long_is_given_back_to_be_rendered_elsewhere(self, tmp_path, sent, monkeypatch):
        monkeypatch.setattr(node_module, "RESTART_PATIENCE_S", 0.1)
        ended = []
        held = Held(tmp_path, sent, end=lambda: ended.append(True))
        held.node.control("restart", {})
        until(lambda: ended)
        held.thread.join(30)
        result = held.node.render(9, 1, spec())
        assert (result.error_code, result.retryable, result.images) == ("shutting_down", True, ())


class TestLog:
    def test_the_last_lines_are_sent_when_they_are_asked_for(self, tmp_path, sent):
        node = make(tmp_path, sent)
        log_tail.tail.emit(logging.LogRecord("x", logging.INFO, "", 0, "a %s", ("line",), None))
        node.control("log", {"lines": 1})
        (task, (name, lines)) = sent[0]
        assert (task, name, len(lines)) == (LOG_TASK, "w", 1)
        assert lines[0].endswith("INFO x: a line")


class TestWatching:
    def test_a_preview_stands_while_the_render_is_under_way_and_not_longer(self, tmp_path, sent):
        held = Held(tmp_path, sent, preview_key=PREVIEW)
        held.node.engine.on_event(preview_event("red"))
        until((tmp_path / PREVIEW).is_file)
        with Image.open(tmp_path / PREVIEW) as shown:
            assert shown.size == (32, 16)
        held.end()
        assert not (tmp_path / PREVIEW).exists()
        held.node.engine.on_event(preview_event("blue"))
        assert not (tmp_path / PREVIEW).exists()

    def test_a_store_that_fails_costs_no_picture(self, tmp_path, sent, monkeypatch):
        node = make(tmp_path, sent)
        write = node.storage.write

        def fails_for_previews(key, data, content_type):
            if key == PREVIEW:
                raise OSError("The disk is full.")
            write(key, data, content_type)

        monkeypatch.setattr(node.storage, "write", fails_for_previews)
        assert len(node.render(1, 1, spec(preview_key=PREVIEW)).images) == 2

    def test_progress_is_told_between_heartbeats_to_those_who_watch(self, tmp_path, sent):
        held = Held(tmp_path, sent, preview_key=PREVIEW)
        teller = threading.Thread(target=held.node.progress_forever, args=("progress",))
        teller.start()
        for _ in range(50):
            held.node.engine.on_event({"type": "step"})
        told = {"generation_id": 9, "attempt": 1, "step": 26, "steps": 40}
        until(lambda: sent)
        assert sent[0] == ("progress", ["w", [told]])
        assert len(sent) <= 2
        held.end()
        held.node.goodbye("heartbeat")
        teller.join(30)
        assert not teller.is_alive()

    def test_nobody_is_told_of_what_nobody_watches(self, tmp_path, sent):
        held = Held(tmp_path, sent)
        assert held.node.engine.on_event is None
        assert held.node.watched() == []
        assert held.node.report()["running"][0]["step"] == 26
        held.end()
