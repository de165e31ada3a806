"""The loop between jobs: fair shares, cancelling, failures that stay with their job, progress, and state."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inference.engine.errors import RenderFailed
from inference.engine.fairness import FairShare
from inference.engine.spec import Operation
from tests.inference.engine.bench import Bench, apart, model, noise_picture, spec
from tests.inference.engine.sabotage import Sabotage
from tests.support import tiny_models

SAME = 1e-5
SD15 = model("sd15")


class Stub:
    """A candidate without a network."""

    def __init__(self, account: str, bucket: str = "a", cost: float = 1.0, weight: int = 1) -> None:
        self.account, self.bucket, self.cost, self.weight = account, bucket, cost, weight


class TestFairShare:
    """A clock of steps: one candidate fits into each."""

    def test_accounts_alternate_however_much_one_of_them_wants(self) -> None:
        fair = FairShare()
        fair.enter(["alice", "bob"])
        many = [Stub("alice") for _ in range(15)] + [Stub("bob")]
        served = [fair.pick(many, lambda _: 1)[0].account for _ in range(10)]
        assert Counter(served) == {"alice": 5, "bob": 5}

    def test_large_work_waits_for_its_turn_longer_than_small(self) -> None:
        fair = FairShare()
        fair.enter(["alice", "bob"])
        stubs = [Stub("alice", cost=4.0), Stub("bob", cost=1.0)]
        served = Counter(fair.pick(stubs, lambda _: 1)[0].account for _ in range(50))
        assert served == {"alice": 10, "bob": 40}

    def test_a_pause_earns_no_credit(self) -> None:
        fair = FairShare()
        fair.enter(["alice", "bob"])
        for _ in range(20):
            fair.pick([Stub("alice")], lambda _: 1)
            fair.enter(["alice"])
        fair.enter(["alice", "bob"])
        served = Counter(fair.pick([Stub("alice"), Stub("bob")], lambda _: 1)[0].account for _ in range(10))
        assert served["alice"] >= 4

    def test_only_one_bucket_shares_a_forward_and_no_bucket_starves(self) -> None:
        fair = FairShare()
        fair.enter(["alice", "bob"])
        stubs = [Stub("alice", "a"), Stub("alice", "a"), Stub("bob", "b")]
        picks = [fair.pick(stubs, lambda _: 8) for _ in range(6)]
        assert all(len({stub.bucket for stub in pick}) == 1 for pick in picks)
        assert Counter(pick[0].bucket for pick in picks) == {"a": 2, "b": 4}

    def test_a_candidate_larger_than_the_forward_runs_alone(self) -> None:
        fair = FairShare()
        picked = fair.pick([Stub("alice", weight=30), Stub("alice")], lambda _: 8)
        assert [stub.weight for stub in picked] == [30]


class TestSharing:
    def test_fifteen_queued_images_do_not_starve_a_single_one(self, model_dir: Path) -> None:
        """With room for two images per forward and places for four, the single image takes as long as alone."""
        bench = Bench(model_dir, max_rows=4, max_active_images=4)
        bench.draw(spec(SD15))
        crowd = [bench.submit(spec(SD15, account="alice", samples=5, seed=i)) for i in range(3)]
        bench.turn(6)
        before = len(bench.recorded.forwards)
        single = bench.submit(spec(SD15, account="bob", num_inference_steps=5))
        bench.finish(single)
        assert len(bench.recorded.forwards) - before <= 2 * 5
        assert not any(job.done for job in crowd[1:])
        bench.finish(*crowd)
        bench.close()

    def test_jobs_of_other_sizes_get_their_turns(self, bench: Bench) -> None:
        wide = bench.submit(spec(SD15, account="alice", width_px=96, num_inference_steps=6))
        small = bench.submit(spec(SD15, account="bob", num_inference_steps=6))
        bench.turn(6)
        kinds = Counter(rows[0][0] for rows in bench.recorded.forwards[-6:])
        assert kinds == {wide.spec.token: 2, small.spec.token: 4} or kinds[small.spec.token] == 3
        bench.finish(wide, small)

    def test_a_deterministic_job_has_its_forwards_to_itself(self, bench: Bench) -> None:
        jobs = [bench.submit(spec(SD15, deterministic=True, samples=2)), bench.submit(spec(SD15))]
        first = len(bench.recorded.forwards)
        bench.finish(*jobs)
        mine = [rows for rows in bench.recorded.forwards[first:] if rows[0][0] == jobs[0].spec.token]
        assert len(mine) == 8
        assert all(len(rows) == 1 for rows in mine)

    def test_the_device_time_of_a_forward_is_shared(self, model_dir: Path) -> None:
        ticks = iter(range(10_000))
        bench = Bench(model_dir, clock=lambda: float(next(ticks)))
        jobs = [bench.submit(spec(SD15, account=name, deadline_s=1e9)) for name in ("alice", "bob")]
        outputs = bench.finish(*jobs)
        together = sum(output.gpu_time_ms for output in outputs)
        assert outputs[0].gpu_time_ms == pytest.approx(together / 2, rel=0.2)
        bench.close()


class TestCancel:
    def test_at_the_next_step(self, bench: Bench) -> None:
        job, other = bench.submit(spec(SD15, num_inference_steps=20)), bench.submit(spec(SD15, seed=2))
        bench.turn(2)
        job.cancel()
        first = len(bench.recorded.forwards)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(job, other)
        assert failure.value.code == "cancelled"
        bench.finish(other)
        assert all(job.spec.token not in {token for token, _ in rows} for rows in bench.recorded.forwards[first:])

    def test_delivers_nothing_even_if_an_image_was_done(self, bench: Bench) -> None:
        job = bench.submit(spec(SD15, samples=8, num_inference_steps=2, deterministic=True))
        bench.turn(4)
        job.cancel()
        with pytest.raises(RenderFailed, match="cancelled"):
            bench.finish(job)

    def test_before_it_started(self, model_dir: Path) -> None:
        bench = Bench(model_dir)
        job = bench.submit(spec(SD15))
        job.cancel()
        with pytest.raises(RenderFailed, match="cancelled"):
            bench.finish(job)
        assert not bench.recorded.forwards
        bench.close()

    def test_gives_back_the_model(self, bench: Bench) -> None:
        job = bench.submit(spec(SD15, num_inference_steps=20))
        bench.turn(1)
        job.cancel()
        with pytest.raises(RenderFailed):
            bench.finish(job)
        assert all(resident.borrowed == 0 for resident in bench.pool.residents.values())


def tokens(bench: Bench) -> set[str]:
    return {token for rows in bench.recorded.forwards for token, _ in rows}


class TestFailures:
    def test_numbers_that_are_none_cost_their_own_job_only(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def poison(batch: Any) -> None:
            for row, sample in enumerate(batch.rows):
                if sample.sample.guidance == 6.66:
                    batch.latents[row] = float("nan")

        Sabotage(monkeypatch, poison)
        bad, good = bench.submit(spec(SD15, guidance_scale=6.66)), bench.submit(spec(SD15, seed=5))
        bench.finish(good)
        with pytest.raises(RenderFailed) as failure:
            bad.result(0)
        assert failure.value.code == "not_a_number"
        monkeypatch.undo()
        assert apart(bench.recorded.pixels[good.spec.token, 0], bench.draw(spec(SD15, seed=5))) <= SAME

    def test_an_unknown_failure_is_traced_to_the_job_that_causes_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stumble(batch: Any) -> None:
            if any(row.sample.guidance == 6.66 for row in batch.rows):
                raise RuntimeError("index out of bounds")

        Sabotage(monkeypatch, stumble)
        bad, good = bench.submit(spec(SD15, guidance_scale=6.66)), bench.submit(spec(SD15))
        bench.finish(good)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bad)
        assert failure.value.code == "engine_error"
        assert "index" not in failure.value.message

    def test_what_is_done_is_delivered_and_the_rest_fails(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second sample is poisoned after the first was delivered."""
        job = bench.submit(spec(SD15, samples=2, num_inference_steps=2, deterministic=True))
        bench.turn(2)
        Sabotage(monkeypatch, lambda batch: batch.latents.fill_(float("nan")))
        (output,) = bench.finish(job)
        assert [image.index for image in output.images] == [0]
        assert output.error is not None
        assert output.error.code == "not_a_number"

    def test_a_job_past_its_deadline_ends(self, model_dir: Path) -> None:
        now = [0.0]
        bench = Bench(model_dir, clock=lambda: now[0])
        job = bench.submit(spec(SD15, num_inference_steps=20, deadline_s=30))
        bench.turn(2)
        now[0] = 31.0
        with pytest.raises(RenderFailed) as failure:
            bench.finish(job)
        assert failure.value.code == "deadline_exceeded"
        bench.close()


class TestProgress:
    def test_every_step_is_told(self, bench: Bench) -> None:
        events: list[dict[str, Any]] = []
        job = bench.submit(spec(SD15, samples=2, num_inference_steps=3), listener=events.append)
        bench.finish(job)
        assert events[0]["type"] == "started"
        for index in (0, 1):
            mine = [(e["type"], e["step"], e["steps"]) for e in events[1:] if e["index"] == index]
            assert mine == [("step", 1, 3), ("step", 2, 3), ("step", 3, 3), ("finished", 3, 3)]
        assert {event["token"] for event in events} == {job.spec.token}

    def test_a_listener_that_fails_costs_nothing(self, bench: Bench) -> None:
        def listener(event: dict[str, Any]) -> None:
            raise ValueError(event)

        (output,) = bench.finish(bench.submit(spec(SD15), listener=listener))
        assert len(output.images) == 1

    def test_the_state_tells_how_far_each_job_is(self, bench: Bench) -> None:
        job = bench.submit(spec(SD15, samples=2, num_inference_steps=5))
        bench.turn(3)
        progress = bench.loop.snapshot.progress[job.spec.token]
        assert (progress.state, progress.step, progress.steps, progress.images) == ("drawing", 3, 5, 2)
        assert progress.steps_done == 6
        bench.finish(job)
        assert job.spec.token not in bench.loop.snapshot.progress


def test_pictures_of_a_job_are_not_changed(bench: Bench) -> None:
    picture = noise_picture(80)
    before = picture.tobytes()
    job = spec(SD15, operation=Operation.IMAGE_TO_IMAGE, init_images=("in",))
    bench.finish(bench.submit(job, {"in": picture}))
    assert picture.tobytes() == before


def test_a_missing_model_is_found_once_it_is_there(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(RenderFailed) as failure:
        bench.finish(bench.submit(spec(SD15)))
    assert failure.value.code == "model_missing"
    tiny_models.save(tiny_models.sd15(), tmp_path / "sd15")
    bench.finish(bench.submit(spec(SD15)))
    bench.close()
