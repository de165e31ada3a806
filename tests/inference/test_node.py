"""A render worker's duties around its engine: once per attempt, outcomes kept and repeated, failures told."""

import io

import pytest
from PIL import Image

from inference import node as node_module
from inference.broker import OUTCOME_TASK
from inference.engine import RenderFailed
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec
from inference.node import RenderNode
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
        self.submitted = 0
        self.failure = failure

    def submit(self, spec, inputs=None, on_event=None):
        self.submitted += 1
        if self.failure:
            raise self.failure
        return InstantJob(spec)


@pytest.fixture
def sent():
    return []


def make(tmp_path, sent, **changes):
    return RenderNode(
        name="w",
        slots=2,
        engine=changes.get("engine") or CountingEngine(),
        storage=FileStorage(tmp_path),
        send=lambda task, args: sent.append((task, args)),
    )


def test_a_render_stores_every_picture_at_its_promised_key(tmp_path, sent):
    result = make(tmp_path, sent).render(1, 1, spec())
    assert [image.seed for image in result.images] == [5, 6]
    for image in result.images:
        opened = Image.open(io.BytesIO((tmp_path / image.key).read_bytes()))
        assert opened.size == (64, 64)
        assert f'"seed": {image.seed}' in opened.text["parameters"]


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


def test_a_missing_input_fails_this_render_alone(tmp_path, sent):
    result = make(tmp_path, sent).render(1, 1, spec(init_images=("inputs/" + "a" * 64 + ".png",)))
    assert result.failed
    assert make(tmp_path, sent).render(2, 1, spec()).images
