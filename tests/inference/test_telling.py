"""What a render worker tells of itself beside its renders: its log, its machine, how full its forwards are."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from inference.engine.tally import BATCHES_MAX, Tally
from inference.log_tail import LINE_CHARACTERS_MAX, LINES_MAX, MASK, LogTail, masked, secrets_of
from inference.machine import Machine
from inference.measures import FILL_OVER_S, Fill, Measures


class TestMasking:
    @pytest.mark.parametrize(
        "text",
        [
            "Connected to redis://user:hunter2hunter2@cache:6379/0",
            "s3 GET https://store/x?X-Amz-Signature=hunter2hunter2&x=1",
            "Authorization: Bearer hunter2hunter2",
            "aws_secret_access_key = 'hunter2hunter2'",
            '{"api_key": "hunter2hunter2"}',
            "sk_hunter2hunter2 was refused",
            "img_live_hunter2hunter2 called",
        ],
    )
    def test_what_looks_like_a_secret_is_unreadable(self, text: str) -> None:
        assert "hunter2" not in masked(text)
        assert MASK in masked(text)

    @pytest.mark.parametrize(
        "text",
        [
            "Task inference.tasks.render[8f0c] succeeded in 2.1s: None",
            'File "/srv/inference/engine/loop.py", line 12, in turn',
            "The model demo is read from /models/tokenizers/clip",
            "Sent to http://gateway:8000/media/x.png?expires=12",
        ],
    )
    def test_what_does_not_stays(self, text: str) -> None:
        assert masked(text) == text

    def test_values_of_secret_variables_are_masked_wherever_they_stand(self) -> None:
        harmless = {"RENDER_TOKENIZERS_DIR": "/models/tok", "KEY": "1"}
        environ = {"AWS_SECRET_ACCESS_KEY": "abcdefgh12", "HF_TOKEN": "x" * 9} | harmless
        assert set(secrets_of(environ)) == {"abcdefgh12", "x" * 9}
        assert masked("it was abcdefgh12.", secrets_of(environ)) == f"it was {MASK}."


class TestTail:
    def record(self, text: str) -> logging.LogRecord:
        return logging.LogRecord("x", logging.INFO, "", 0, text, (), None)

    def test_it_keeps_the_last_lines_short_and_masked(self) -> None:
        tail = LogTail()
        for number in range(LINES_MAX + 5):
            tail.emit(self.record(f"line {number}"))
        tail.emit(self.record("first\npassword=hunter2hunter2 " + "x" * 1000))
        lines = tail.lines(1000)
        assert len(lines) == LINES_MAX
        assert lines[-2].endswith("first")
        assert (len(lines[-1]), "hunter2" in lines[-1]) == (LINE_CHARACTERS_MAX, False)
        assert (tail.lines(2), tail.lines(0)) == (lines[-2:], [])


def driver(**answers: object) -> SimpleNamespace:
    """NVIDIA's library with these answers; what it has no answer to, it refuses."""

    def refuse(*_: object) -> None:
        raise RuntimeError("Not Supported")

    names = ("GetMemoryInfo", "GetName", "GetCount", "GetTemperature", "GetUtilizationRates", "GetHandleByUUID")
    asked = {f"nvmlDevice{name}": answers.get(name, refuse) for name in names}
    return SimpleNamespace(
        nvmlInit=lambda: None, nvmlSystemGetDriverVersion=lambda: b"570.124", NVML_TEMPERATURE_GPU=0, **asked
    )


class TestMachine:
    def test_a_machine_without_a_device_tells_its_name_alone(self) -> None:
        facts = Machine().facts()
        assert list(facts) == ["host"]
        assert facts["host"]

    def test_what_the_driver_does_not_tell_is_unknown_and_the_rest_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library = driver(
            GetHandleByUUID=lambda uuid: uuid,
            GetName=lambda device: "NVIDIA H100",
            GetCount=lambda: 8,
            GetTemperature=lambda device, kind: 61,
            GetMemoryInfo=lambda device: SimpleNamespace(used=5, total=80),
        )
        monkeypatch.setitem(sys.modules, "pynvml", library)
        facts = Machine("GPU-1").facts()
        assert facts == {
            "host": facts["host"],
            "gpu": "NVIDIA H100",
            "gpu_count": 8,
            "driver": "570.124",
            "gpu_celsius": 61,
            "gpu_percent": None,
            "gpu_memory_used_bytes": 5,
            "gpu_memory_bytes": 80,
        }

    def test_an_unknown_device_is_no_reason_to_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", driver())
        assert list(Machine("MIG-1").facts()) == ["host"]

    def test_the_library_itself_finds_no_driver_here_or_tells(self) -> None:
        assert "host" in Machine("GPU-00000000-0000-0000-0000-000000000000").facts()


class TestCounts:
    def test_rows_of_a_forward_are_those_of_the_last_minutes(self) -> None:
        now_s = 0.0
        fill = Fill(clock=lambda: now_s)
        assert fill.rows_per_forward({}) == {}
        assert fill.rows_per_forward({"a": (10, 20)}) == {"a": 2.0}
        now_s = FILL_OVER_S / 2
        assert fill.rows_per_forward({"a": (12, 44), "b": (1, 3)}) == {"a": 3.67, "b": 3.0}
        now_s = FILL_OVER_S * 1.25
        assert fill.rows_per_forward({"a": (14, 76), "b": (1, 3)}) == {"a": 16.0}

    def test_the_engine_counts_by_model_and_forgets_the_oldest(self) -> None:
        tally = Tally(lambda: 0.0)
        for number in range(BATCHES_MAX + 1):
            tally.forward(f"m{number}", 4)
        tally.forward("m1", 2)
        assert tally.batches["m1"] == (2, 6)
        assert "m0" not in tally.batches
        assert (tally.counts["forwards"], tally.counts["forward_rows"]) == (BATCHES_MAX + 2, 4 * BATCHES_MAX + 6)

    def test_a_render_that_waited_for_a_load_is_a_cold_start(self) -> None:
        measures = Measures()
        measures.rendered(images=2, wait_ms=5, load_ms=0, run_ms=100)
        measures.rendered(images=1, wait_ms=7, load_ms=900, run_ms=300)
        told = measures.told()
        assert (told["images"], told["cold_starts"], told["load_ms_p50"]) == (3, 1, 900)
        assert (told["run_ms_p50"], told["run_ms_p95"], told["wait_ms_p50"]) == (300, 300, 7)
