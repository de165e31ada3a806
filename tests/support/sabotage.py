"""A process of the service that dies at a named moment, or that has one named mistake; all else of it is the real one.

`python -m tests.support.sabotage NAME[,NAME...] PROGRAM ARGUMENTS...` runs a module (or a file ending in .py) whose
modules are altered as they are imported, so that the product needs no hooks for its tests. A moment kills its process
once in the life of a RUN_DIR, where it leaves a file of its name: whoever is started after it lives. The mistakes are
the negative controls of the fault tests, each a way in which systems like this one have lost or invented money.
"""

from __future__ import annotations

import importlib.machinery
import itertools
import os
import random
import runpy
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

# Others are under way when the process dies.
DIES_AT_PASS = 2
BUFFER_S = 6.0
OUTCOME_TASK = "gateway.tasks.outcome"

Patch = Callable[[ModuleType], None]


@dataclass(frozen=True, slots=True)
class Moment:
    """Just before or just after a call of `function` (dotted inside its module), for the calls that count."""

    process: str
    module: str
    function: str
    after: bool = False
    counts: Callable[..., bool] = lambda *_, **__: True


MOMENTS = {
    "admission-before-commit": Moment("web", "gateway.services.place", "_write", after=True),
    "admission-after-commit": Moment("web", "gateway.services.place", "dispatcher_wake"),
    "admission-before-answer": Moment("web", "gateway.api.views.generation", "generation_reply"),
    "lease-before-commit": Moment("dispatcher", "gateway.dispatcher", "generation_lease", after=True),
    "lease-before-sending": Moment("dispatcher", "gateway.dispatcher", "_send"),
    "lease-amid-sending": Moment("dispatcher", "inference.render_control", "render", after=True),
    "render-before-picture": Moment("render", "inference.node", "RenderNode._rendered"),
    "render-amid-files": Moment("render", "inference.node", "RenderNode._store", after=True),
    "render-before-outcome": Moment("render", "inference.node", "RenderNode.render", after=True),
    "render-after-outcome": Moment(
        "render", "inference.worker_state", "send", after=True, counts=lambda task, _: task == OUTCOME_TASK
    ),
    "settlement-before-money": Moment("worker", "gateway.tasks", "generation_settle"),
    "settlement-amid-money": Moment("worker", "gateway.services.settle", "_finish"),
    "settlement-before-commit": Moment("worker", "gateway.services.settle", "generation_webhook_queue", after=True),
    "settlement-after-commit": Moment("worker", "gateway.services.settle", "_after"),
}


def flag(run_dir: Path, moment: str) -> Path:
    """The file that says that the moment was reached."""
    return run_dir / f"died-{moment}"


def die_once(moment: str) -> None:
    try:
        flag(Path(os.environ["RUN_DIR"]), moment).touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(9)


def dies(name: str) -> tuple[str, Patch]:
    moment, passes = MOMENTS[name], itertools.count(1)

    def patch(module: ModuleType) -> None:
        owner: Any = module
        *path, last = moment.function.split(".")
        for part in path:
            owner = getattr(owner, part)
        real = getattr(owner, last)

        def altered(*args: Any, **fields: Any) -> Any:
            if not moment.counts(*args, **fields) or next(passes) < DIES_AT_PASS:
                return real(*args, **fields)
            result = real(*args, **fields) if moment.after else None
            die_once(name)
            return result if moment.after else real(*args, **fields)

        setattr(owner, last, altered)

    return moment.module, patch


# --- mistakes --------------------------------------------------------------------------------------------------------


def outcomes_twice(module: Any) -> None:
    """Not a mistake of ours: a broker that delivers at least once, each outcome in fact twice."""
    real = module.send

    def send(task: str, args: list[Any]) -> None:
        for _ in range(2 if task == OUTCOME_TASK else 1):
            real(task, args)

    module.send = send


def renders_twice(module: Any) -> None:
    """The same attempt goes to its leaseholder twice and to the render worker named second as well."""
    real = module.render

    def render(*, worker: str, **message: Any) -> None:
        for name in (worker, worker, "second"):
            real(worker=name, **message)

    module.render = render


def settles_blindly(module: Any) -> None:
    """Charges for every report, whatever state the hold and the generation are in, under a fresh key each time."""

    def capture(*, reference: int, images: int, now: Any) -> Any:
        from billing import ledger
        from billing.models import EntryKind, Hold

        hold = Hold.objects.get(pk=reference)
        was_open = Hold.objects.filter(pk=reference, state="open").update(state="captured", images_captured=images)
        ledger.entry_post(
            account_id=hold.account_id,
            kind=EntryKind.CAPTURE,
            amount_microusd=-hold.unit_price_microusd * images,
            op_key=f"capture:{reference}" if was_open else uuid.uuid4().hex,
            now=now,
            reference=reference,
            images=images,
            release_held_microusd=hold.amount_microusd if was_open else 0,
        )
        return module.Closing(hold.source, images, hold.unit_price_microusd * images)

    def end(generation_id: int, ending: Any, now: Any) -> bool:
        with module.transaction.atomic():
            generation = module.Generation.objects.get(pk=generation_id)
            closing = capture(reference=generation_id, images=len(ending.result.images), now=now)
            module._finish(generation, ending, closing, now)
        return True

    module._end = end


def charges_before_delivery(module: Any) -> None:
    """Two transactions where one belongs, and a crash between them."""

    def end(generation_id: int, ending: Any, now: Any) -> bool:
        generation = module.Generation.objects.get(pk=generation_id)
        if generation.settled:
            return False
        with module.transaction.atomic():
            closing = module._close_hold(generation, ending, now)
        die_once("between-charge-and-delivery")
        with module.transaction.atomic():
            return closing is not None and bool(module._finish(generation, ending, closing, now))

    module._end = end


def locks_in_any_order(module: Any) -> None:
    """Locks a few wallets as they come, and gives the money and the result a transaction each."""

    def end(generation_id: int, ending: Any, now: Any) -> bool:
        from billing.models import Wallet

        generation = module.Generation.objects.get(pk=generation_id)
        with module.transaction.atomic():
            wallets = list(Wallet.objects.values_list("pk", flat=True))
            for pk in random.sample(wallets, 3):
                Wallet.objects.select_for_update().get(pk=pk)
                time.sleep(0.02)
            closing = module._close_hold(generation, ending, now)
        time.sleep(0.1)
        return closing is not None and bool(module._finish(generation, ending, closing, now))

    module._end = end


def answers_before_commit(module: Any) -> None:
    """Keeps admissions in memory and writes them some seconds later, all together."""
    real = module.run_guarded
    buffer: list[tuple[Any, Sequence[Any]]] = []

    def flush() -> None:
        from django.db import connection, transaction

        while True:
            time.sleep(BUFFER_S)
            while buffer:
                with transaction.atomic():
                    real(*buffer.pop(0))
            connection.close()

    def buffered(guard: Any, inserts: Sequence[Any]) -> bool:
        if not buffer:
            threading.Thread(target=flush, daemon=True).start()
        buffer.append((guard, inserts))
        return True

    module.run_guarded = buffered


def never_sweeps(module: Any) -> None:
    """Trusts the broker: a message that was sent is believed to be worked on for ever."""
    module.leases_sweep = lambda now: 0


def forgets_places(module: Any) -> None:
    """Of ten removals one is lost, and what Redis did not hear of the first time it never hears of."""
    removals = itertools.count()

    def remove(self: Any, keys: list[str], token: str) -> None:
        if next(removals) % 10:
            self._run(module.REMOVE, keys, [token])

    module.SharedLimiter._remove = remove


def counts_alone(module: Any) -> None:
    """Each process counts for itself and believes that there is no other."""
    alone = module.LocalLimiter()

    def admit(self: Any, **call: Any) -> Any:
        return alone.admit(**call)

    module.SharedLimiter.admit = admit


def never_recounts(module: Any) -> None:
    """Lets in what Redis cannot vouch for."""
    module.recount_needed = lambda found: False


def never_reconciles(module: Any) -> None:
    """Believes that the limiter is always told."""
    module.places_reconcile = lambda now: 0


MISTAKES: dict[str, tuple[str, Patch]] = {
    "outcomes-twice": ("inference.worker_state", outcomes_twice),
    "renders-twice": ("inference.render_control", renders_twice),
    "settles-blindly": ("gateway.services.settle", settles_blindly),
    "charges-before-delivery": ("gateway.services.settle", charges_before_delivery),
    "locks-in-any-order": ("gateway.services.settle", locks_in_any_order),
    "answers-before-commit": ("billing.holds", answers_before_commit),
    "never-sweeps": ("gateway.periodic", never_sweeps),
    "never-reconciles": ("gateway.periodic", never_reconciles),
    "counts-alone": ("gateway.ratelimit", counts_alone),
    "never-recounts": ("gateway.services.place", never_recounts),
    "forgets-places": ("gateway.ratelimit.shared", forgets_places),
}


class PatchingFinder(MetaPathFinder):
    """Finds modules as ever, and alters the named ones right after they were executed."""

    def __init__(self, patches: Sequence[tuple[str, Patch]]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patches = [patch for name, patch in self._patches if name == fullname]
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if patches else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def sabotaged(command: list[str], *names: str) -> list[str]:
    """The command of a process of the service, altered."""
    environment = list(itertools.takewhile(lambda word: word == "env" or "=" in word, command))
    python, *program = command[len(environment) :]
    return [*environment, python, "-m", "tests.support.sabotage", ",".join(names), *program[program[0] == "-m" :]]


def main() -> None:
    names, program, *_ = sys.argv[1:]
    chosen = [dies(name) if name in MOMENTS else MISTAKES[name] for name in names.split(",")]
    sys.meta_path.insert(0, PatchingFinder(chosen))
    del sys.argv[:2]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
