"""A month of invented traffic for demonstrations and screenshots, through the services that real calls pass.

Every call is admitted, leased and settled as always, with the clock passed in, so that the books balance. Only the
pictures are missing. Each call is one transaction: a running dispatcher never sees one of them waiting.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts.errors import DomainError
from accounts.models import Account, User
from billing.entitlements import plan_in_force
from billing.models import Mode, TopUp, TopUpState, Wallet
from billing.revenue import month_number, months_reopen, plan_paid
from billing.services import funds_grant, plan_assign
from billing.topups import topup_credit
from gateway.api.authentication import caller_authenticate
from gateway.api.last_use import flush as last_uses_write
from gateway.api.last_use import key_used
from gateway.refusals import Refusals
from gateway.services import account_open, generation_abort, generation_cancel, generation_place, generation_settle
from inference.engine.spec import ModelRef, Operation, RenderedImage, RenderResult, RenderSpec
from inference.models import Generation, ImageModel, RenderWorker, WorkerMinute
from inference.selectors import model_find
from inference.services import render_fault_note, worker_minute, worker_seen
from inference.states import generation_lease, lease_renew

DOMAIN = "demo.example"
# From the block that documentation may use (RFC 5737).
ADDRESS = "203.0.113.20"
WORKER = "demo-fleet"
WORKER_COST_MICROUSD_PER_HOUR = 1_900_000
NAMES = (
    "Blue Harbour Studio", "Papierboot", "Kestrel Games", "Nine Lamps", "Northwind Prints", "Atelier Mirabel",
    "Quiet Orchard", "Tessellate", "Lantern & Co", "Pocket Comics", "Ferrovia", "Saltmarsh Media", "Mosaic Labs",
    "Cloudberry", "Redwood Posters", "Little Planet",
)  # fmt: skip
# plan, share of the traffic, top-ups in cents
KINDS: tuple[tuple[str, float, tuple[int, ...]], ...] = (
    ("payg", 5.0, (2500, 5000, 10_000)),
    ("unlimited", 3.0, ()),
    ("free", 1.0, ()),
    ("payg", 1.5, (500, 1000)),
    ("free", 0.6, ()),
)
ENDPOINTS = (("v6/images/text2img", "v6"), ("v7/images/text-to-image", "v7"), ("v6/realtime/text2img", "v6"))
SIZES = ((512, 512), (768, 512), (512, 768), (1024, 1024))
PROMPTS = (
    "a red circle on a blue background", "a small boat at dawn", "a yellow house under two moons",
    "green hills and a white road", "a black cat on a striped chair",
)  # fmt: skip
# As own limits: a month of a few thousand calls would else stay inside the free ones and show no money.
FREE_CALLS_OF_PAYERS = 3
FAILED_SHARE, CANCELLED_SHARE = 0.035, 0.012
# How often a failed call was tried, by the code with which it failed at last.
ATTEMPTS_OF = {"out_of_memory": 1, "render_failed": 1, "render_lost": 3}
MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Customer:
    account: Account
    key: str
    since: datetime
    share: float
    top_ups: tuple[int, ...]


@dataclass(slots=True)
class Made:
    """What came of it."""

    customers: int = 0
    calls: int = 0
    refused: int = 0


class Traffic:
    """The same seed, days and clock make the same calls."""

    def __init__(self, *, days: int, calls_per_day: int, seed: int, now: datetime) -> None:
        self.random = random.Random(seed)  # noqa: S311 - inventing traffic, not secrets
        self.days, self.calls_per_day, self.now = days, calls_per_day, now
        self.start = now - timedelta(days=days)
        self.models = list(ImageModel.objects.filter(published=True).values_list("model_id", flat=True))
        self.made = Made()
        self.refusals = Refusals()

    def run(self) -> Made:
        self._fleet()
        customers = [self._customer(number, name) for number, name in enumerate(NAMES)]
        self.made.customers = len(customers)
        for at in self._moments():
            there = [customer for customer in customers if customer.since <= at]
            if there:
                chosen = self.random.choices(there, weights=[customer.share for customer in there])[0]
                with transaction.atomic():
                    self._call(chosen, at)
        last_uses_write()
        # All of it lies in the past: a month that had ended was folded without it.
        months_reopen(*range(month_number(self.start), month_number(self.now)))
        return self.made

    def _fleet(self) -> None:
        """The worker that these calls name has a day behind it and says goodbye at once: nothing is ever assigned to
        it."""
        day = [
            worker_minute(name=WORKER, report=self._report(minute), now=self.now - timedelta(minutes=minute))
            for minute in range(24 * 60, 0, -1)
        ]
        WorkerMinute.objects.bulk_create(day, ignore_conflicts=True)
        worker_seen(name=WORKER, report=self._report(0) | {"state": "lost"}, now=self.now)
        RenderWorker.objects.filter(pk=WORKER).update(started_at=self.start)

    def _report(self, minute: int) -> dict[str, Any]:
        """What it says so many minutes before the end: busier in some hours than in others."""
        load = 0.5 + 0.45 * math.sin(minute / 190)
        busy = self.random.random() < load
        return {
            "state": "busy" if busy else "idle",
            "slots": 4,
            "version": "1",
            "cost_microusd_per_hour": WORKER_COST_MICROUSD_PER_HOUR,
            "device": "invented",
            "memory_budget_bytes": 64 << 30,
            "memory_used_bytes": (22 if load < 0.4 else 41) << 30,
            "machine": {
                "host": "demo.example",
                "gpu": "Invented GPU",
                "gpu_count": 1,
                "gpu_percent": round(100 * load * self.random.uniform(0.8, 1.0)) if busy else 0,
                "gpu_celsius": round(38 + 34 * load),
                "gpu_memory_bytes": 80 << 30,
                "gpu_memory_used_bytes": (30 if load < 0.4 else 52) << 30,
            },
        }

    def _customer(self, number: int, name: str) -> Customer:
        plan_code, share, top_ups = KINDS[number % len(KINDS)]
        # The first half were there from the beginning; the others joined during the first three quarters.
        late = 0.0 if number < len(NAMES) // 2 else self.random.random() * 0.75
        since = self.start + (self.now - self.start) * late
        with transaction.atomic():
            email = f"{name.split()[0].lower()}@{DOMAIN}"
            user = User.objects.create_user(email, name=name, date_joined=since)
            EmailAddress.objects.create(user=user, email=email, verified=number % 7 != 6, primary=True)
            account, key = account_open(owner=user, now=since, name=name)
            if plan_code == "unlimited":
                plan_assign(account_id=account.pk, plan_code=plan_code, now=since)
                self._plan_payments(account, plan_code, since)
            elif plan_code == "payg":
                Wallet.objects.filter(pk=account.pk).update(overrides={"free_calls_per_day": FREE_CALLS_OF_PAYERS})
            customer = Customer(account, key.text, since, share * self.random.uniform(0.4, 1.6), top_ups)
            if top_ups:
                self._top_up(customer, since)
            if number % 6 == 1:
                self._grant(account, since)
        return customer

    def _plan_payments(self, account: Account, plan_code: str, since: datetime) -> None:
        """A paid invoice a month, as the payment provider's stand-in would have told of them."""
        for number in range((self.now - since) // MONTH + 1):
            plan_paid(
                invoice_id=f"demo_{account.pk}_{number}",
                account_id=account.pk,
                mode=Mode.SANDBOX,
                plan_code=plan_code,
                amount_cents=plan_in_force(plan_code, self.now).monthly_price_cents,
                paid_at=since + number * MONTH,
                now=self.now,
            )

    def _grant(self, account: Account, at: datetime) -> None:
        funds_grant(
            account_id=account.pk,
            amount_microusd=5_000_000,
            op_key=f"demo:{account.pk}",
            now=at,
            reason="Welcome of the demo",
        )

    def _top_up(self, customer: Customer, at: datetime) -> None:
        """Funds as the payment provider's stand-in would have brought them."""
        top_up = TopUp.objects.create(
            account=customer.account,
            mode=Mode.SANDBOX,
            amount_cents=self.random.choice(customer.top_ups),
            state=TopUpState.OPEN,
            created_at=at,
        )
        topup_credit(top_up=top_up, payment_intent_id=None, now=at)

    def _moments(self) -> Iterator[datetime]:
        """More by day than by night, fewer at weekends, growing over the month, in their order."""
        for day in range(self.days):
            start = self.start + timedelta(days=day)
            weekend = 0.6 if start.weekday() >= 5 else 1.0
            growth = 0.7 + 0.6 * day / max(self.days, 1)
            count = round(self.calls_per_day * weekend * growth * self.random.uniform(0.85, 1.15))
            yield from sorted(start + self._time_of_day(start) for _ in range(count))

    def _time_of_day(self, start: datetime) -> timedelta:
        while True:
            span = timedelta(seconds=self.random.random() * 86_400)
            hour = (start + span).hour
            if self.random.random() < 0.35 + 0.65 * max(math.sin((hour - 5) / 24 * 2 * math.pi), 0.0):
                return span

    def _call(self, customer: Customer, at: datetime) -> None:
        try:
            caller = caller_authenticate(key=customer.key, address=ADDRESS, now=at)
            placed = generation_place(caller=caller, order=self._order(customer, at), idempotency_key=None, now=at)
        except DomainError as refusal:
            self.made.refused += 1
            self.refusals.count(refusal.code)
            self.refusals.flush(now=at)
            if refusal.code == "funds_exhausted" and customer.top_ups:
                self._top_up(customer, at)
            return
        self.made.calls += 1
        key_used(key_id=caller.key_id, address=ADDRESS, endpoint=placed.generation.endpoint, now=at)
        self._render(placed.generation, at)

    def _order(self, customer: Customer, at: datetime) -> Any:
        """What the API's edge would have made of a request (gateway.api.orders.GenerationOrder)."""
        model = model_find(self.random.choice(self.models))
        width_px, height_px = self.random.choices(SIZES, weights=(6, 2, 2, 1))[0]
        token, samples = uuid.UUID(int=self.random.getrandbits(128)).hex, self.random.choices((1, 2, 4), (8, 2, 1))[0]
        endpoint, api_version = self.random.choices(ENDPOINTS, weights=(4, 5, 1))[0]
        prompt = self.random.choice(PROMPTS)
        spec = RenderSpec(
            token=token,
            account=str(customer.account.pk),
            operation=Operation.TEXT_TO_IMAGE,
            model=ModelRef(model_id=model.model_id, family=model.family, source=model.source),
            prompt=prompt,
            width_px=width_px,
            height_px=height_px,
            num_inference_steps=self.random.choice((20, 25, 30)),
            samples=samples,
            output_keys=tuple(f"generations/{token}-{index}.png" for index in range(samples)),
        )
        return SimpleNamespace(
            endpoint=endpoint,
            api_version=api_version,
            model=model,
            spec=spec,
            reply={},
            instant_response=False,
            webhook_url=None,
            track_id=None,
            asked={"prompt": prompt, "model_id": model.model_id, "samples": samples},
            body_digest="",
            received_at=at,
        )

    def _render(self, generation: Generation, at: datetime) -> None:
        wait_s = self.random.expovariate(1 / 0.6)
        run_s = self.random.lognormvariate(0.6, 0.45) * generation.images_requested
        started, ended = at + timedelta(seconds=wait_s), at + timedelta(seconds=wait_s + run_s)
        fate = self.random.random()
        if fate < CANCELLED_SHARE:
            generation_cancel(account_id=generation.account_id, generation_id=generation.pk, now=started)
            return
        generation_lease(generation_id=generation.pk, worker=WORKER, lease_until=ended)
        lease_renew(generation_id=generation.pk, attempt=1, lease_until=ended, now=started, step=0, steps=0)
        if fate < CANCELLED_SHARE + FAILED_SHARE:
            self._fail(generation, ended)
            return
        result = self._result(generation, wait_ms=int(wait_s * 1000), run_ms=int(run_s * 1000))
        generation_settle(generation_id=generation.pk, result=result, now=ended)

    def _fail(self, generation: Generation, at: datetime) -> None:
        code, message = self.random.choice(
            (
                ("out_of_memory", "The device's memory does not suffice for this picture. Ask for a smaller one."),
                ("render_lost", "The picture could not be rendered: its render worker was lost several times."),
                ("render_failed", "The picture could not be rendered."),
            )
        )
        for attempt in range(1, ATTEMPTS_OF[code] + 1):
            render_fault_note(
                generation_id=generation.pk, attempt=attempt, worker=WORKER, code=code, message=message, now=at
            )
        generation_abort(generation_id=generation.pk, error_code=code, error_message=message, now=at)

    def _result(self, generation: Generation, *, wait_ms: int, run_ms: int) -> RenderResult:
        images = tuple(
            RenderedImage(
                index=index,
                key=generation.spec["output_keys"][index],
                seed=self.random.randrange(2**31),
                width_px=generation.width_px,
                height_px=generation.height_px,
                bytes=generation.width_px * generation.height_px,
                sha256="0" * 64,
                flagged=self.random.random() < 0.01,
            )
            for index in range(generation.images_requested)
        )
        return RenderResult(
            token=generation.token,
            attempt=1,
            images=images,
            wait_ms=wait_ms,
            run_ms=run_ms,
            gpu_time_ms=int(run_ms * 0.85),
        )


def there_already() -> bool:
    return User.objects.filter(email__endswith=f"@{DOMAIN}").exists()
