"""What is in memory: loaded once, borrowed, evicted by least use within a budget, while other jobs go on."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine.errors import RenderFailed
from inference.engine.parts import Part, PartKind, PartRef
from inference.engine.pool import Pool
from inference.engine.spec import AdapterRef, Family
from tests.inference.engine.bench import Bench, model, spec
from tests.support import tiny_models


class Shelf:
    """Parts of known sizes. `gate` holds a load back until it is opened."""

    def __init__(self, **sizes: int) -> None:
        self.sizes, self.loads, self.gate = sizes, [], threading.Event()
        self.gate.set()

    def estimate_bytes(self, ref: PartRef) -> int:
        return self.sizes[ref.source]

    def load(self, ref: PartRef) -> Part:
        assert self.gate.wait(10)
        self.loads.append(ref.source)
        if ref.source == "broken":
            raise RenderFailed(code="model_unreadable", message="broken")
        return Part(ref.source, other_bytes=self.sizes[ref.source])


def ref(name: str) -> PartRef:
    return PartRef(PartKind.VAE, name)


@pytest.fixture
def pools() -> Iterator[Any]:
    made: list[Pool] = []

    def make(shelf: Shelf, budget_bytes: int = 100) -> Pool:
        made.append(Pool(shelf, budget_bytes, lambda: None))
        made[-1].open()
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def load(pool: Pool, *names: str) -> None:
    for name in names:
        ready = threading.Event()
        for _ in range(2000):
            pool.pump()
            if pool.want([ref(name)]):
                break
            ready.wait(0.002)
        else:
            raise AssertionError(f"{name} was not loaded")


class TestPool:
    def test_the_least_recently_used_goes_first(self, pools: Any) -> None:
        pool = pools(Shelf(a=40, b=40, c=40))
        load(pool, "a", "b")
        pool.give_back(pool.borrow([ref("a")]))
        load(pool, "c")
        assert {r.source for r in pool.residents} == {"a", "c"}

    def test_a_part_is_loaded_once_however_often_it_is_wanted(self, pools: Any) -> None:
        shelf = Shelf(a=1, b=1)
        shelf.gate.clear()
        pool = pools(shelf)
        for _ in range(5):
            pool.want([ref("a")])
            pool.pump()
        shelf.gate.set()
        load(pool, "a", "b")
        assert shelf.loads == ["a", "b"]

    def test_what_is_borrowed_or_pinned_stays(self, pools: Any) -> None:
        pool = pools(Shelf(a=30, b=30, c=30, d=30))
        pool.pin("b", True)
        load(pool, "a", "b", "c")
        borrowed = pool.borrow([ref("a")])
        load(pool, "d")
        assert {r.source for r in pool.residents} == {"a", "b", "d"}
        pool.give_back(borrowed)
        assert not pool.evict("b")
        pool.pin("b", False)
        assert pool.evict("b")
        assert not pool.evict("b")

    def test_a_load_waits_for_room_that_is_in_use(self, pools: Any) -> None:
        shelf = Shelf(a=60, b=60)
        pool = pools(shelf)
        load(pool, "a")
        borrowed = pool.borrow([ref("a")])
        assert not pool.want([ref("b")])
        pool.pump()
        assert pool.blocked
        assert shelf.loads == ["a"]
        pool.give_back(borrowed)
        load(pool, "b")
        assert {r.source for r in pool.residents} == {"b"}

    def test_what_can_never_fit_fails(self, pools: Any) -> None:
        pool = pools(Shelf(a=150))
        pool.want([ref("a")])
        pool.pump()
        with pytest.raises(RenderFailed) as failure:
            pool.want([ref("a")])
        assert failure.value.code == "model_too_large"

    def test_parts_that_never_fit_together_fail_instead_of_evicting_each_other(self, pools: Any) -> None:
        pool = pools(Shelf(a=60, b=60))
        pool.reserved = frozenset([ref("a"), ref("b")])
        load(pool, "a")
        pool.want([ref("b")])
        pool.pump()
        with pytest.raises(RenderFailed) as failure:
            pool.want([ref("b")])
        assert failure.value.code == "model_too_large"

    def test_memory_that_runs_out_while_loading_costs_the_idle_parts_first(self, pools: Any) -> None:
        shelf = Shelf(a=10, b=10)
        pool = pools(shelf)
        load(pool, "a")
        real, full = shelf.load, [True]

        def once_full(part: PartRef) -> Part:
            if full.pop() if full else False:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(part)

        shelf.load = once_full
        load(pool, "b")
        assert {r.source for r in pool.residents} == {"b"}

    def test_a_failure_is_told_once_and_then_tried_again(self, pools: Any) -> None:
        shelf = Shelf(broken=1)
        pool = pools(shelf)
        for _ in range(2):
            with pytest.raises(RenderFailed, match="broken"):
                load(pool, "broken")
        assert shelf.loads == ["broken", "broken"]

    def test_an_order_that_nobody_wants_any_more_is_dropped(self, pools: Any) -> None:
        shelf = Shelf(a=1, b=1)
        shelf.gate.clear()
        pool = pools(shelf)
        pool.want([ref("a"), ref("b")])
        pool.pump()
        pool.forget([])
        shelf.gate.set()
        load(pool, "a")
        assert shelf.loads == ["a"]


def bytes_of(pipe: Any) -> int:
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return sum(p.numel() * p.element_size() for n in networks for p in [*n.parameters(), *n.buffers()])


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Models that differ in every component, so that nothing is shared."""
    for name, seed in (("one", 1), ("two", 2), ("three", 3)):
        tiny_models.save(tiny_models.sd15(seed), tmp_path / name)
    return tmp_path


class TestModels:
    def test_models_change_within_the_budget_and_leave_no_memory_behind(self, folders: Path) -> None:
        bench = Bench(folders, memory_budget_bytes=int(bytes_of(tiny_models.sd15()) * 2.5))
        kept: list[weakref.ref[Any]] = []
        for name in ("one", "two", "three") * 3:
            bench.draw(spec(model(name), num_inference_steps=2))
            kept += [weakref.ref(r.part.value.denoiser) for r in bench.pool.residents.values()]
            assert bench.pool.used_bytes() <= bench.pool.budget_bytes
        gc.collect()
        assert len({id(network()) for network in kept if network()}) == len(bench.pool.residents) == 2
        bench.close()

    def test_a_load_does_not_stop_running_work(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench(folders)
        bench.draw(spec(model("one"), num_inference_steps=2))
        gate, real = threading.Event(), bench.pool.loader.load

        def slowly(part: PartRef) -> Part:
            assert gate.wait(30)
            return real(part)

        monkeypatch.setattr(bench.pool.loader, "load", slowly)
        waiting = bench.submit(spec(model("two")))
        bench.finish(bench.submit(spec(model("one"), account="bob")))
        assert bench.loop.snapshot.loading == "two"
        assert bench.loop.snapshot.progress[waiting.spec.token].state == "loading"
        gate.set()
        (output,) = bench.finish(waiting)
        assert output.load_ms > 0
        bench.close()

    def test_a_damaged_model_costs_its_own_jobs_only(self, folders: Path) -> None:
        (folders / "two" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no")
        bench = Bench(folders)
        bad, good = bench.submit(spec(model("two"))), bench.submit(spec(model("one")))
        bench.finish(good)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bad)
        assert failure.value.code == "model_unreadable"
        bench.close()

    def test_jobs_with_a_cold_model_are_not_overtaken_forever(self, folders: Path) -> None:
        """Its model has no room while the other one works; after 32 younger jobs nothing overtakes it any more."""
        bench = Bench(folders, memory_budget_bytes=int(bytes_of(tiny_models.sd15()) * 1.5), max_active_images=2)
        bench.draw(spec(model("one"), num_inference_steps=1))
        others = [bench.submit(spec(model("one"), num_inference_steps=3, account=f"a{i % 3}")) for i in range(4)]
        bench.turn(1)
        cold = bench.submit(spec(model("two"), num_inference_steps=1, account="bob"))
        for i in range(60):
            others.append(bench.submit(spec(model("one"), num_inference_steps=3, account=f"a{i % 3}")))
        bench.finish(cold)
        assert sum(job.done for job in others) < 45
        bench.finish(*others)
        bench.close()

    def test_other_components_are_shared_and_counted_once(self, folders: Path) -> None:
        pipe = tiny_models.sd15(1)
        with torch.no_grad():
            pipe.unet.conv_in.weight.add_(0.01)
        tiny_models.save(pipe, folders / "fine-tune")
        bench = Bench(folders)
        bench.draw(spec(model("one"), num_inference_steps=1))
        alone = bench.pool.used_bytes()
        bench.draw(spec(model("fine-tune"), num_inference_steps=1))
        denoiser = sum(p.numel() * p.element_size() for p in pipe.unet.parameters())
        assert bench.pool.used_bytes() == alone + denoiser
        bench.close()

    def test_a_part_for_a_model_that_is_evicted_meanwhile(self, folders: Path) -> None:
        """The job waits for a VAE and its model together: neither may push the other out."""
        tiny_models.save(tiny_models.sd15(5).vae, folders / "vae")
        bench = Bench(folders, memory_budget_bytes=int(bytes_of(tiny_models.sd15()) * 1.3))
        bench.draw(spec(model("one"), num_inference_steps=1))
        other = AdapterRef(adapter_id="vae", source="vae")
        bench.finish(bench.submit(spec(model("two"), vae=other)), bench.submit(spec(model("one"), account="bob")))
        bench.close()


def test_a_name_that_the_file_system_refuses_is_a_failure_of_its_own(folders: Path) -> None:
    bench = Bench(folders)
    for source in ("no\0name", "x" * 300):
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bench.submit(spec(model(source))))
        assert failure.value.code in ("model_unreadable", "model_missing")
    bench.close()


def test_the_family_of_a_model_is_checked(folders: Path) -> None:
    bench = Bench(folders)
    with pytest.raises(RenderFailed) as failure:
        bench.finish(bench.submit(spec(model("one", Family.FLUX))))
    assert failure.value.code == "model_unreadable"
    bench.close()
