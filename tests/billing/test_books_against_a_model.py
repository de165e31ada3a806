"""L1: thousands of random movements against a model in plain Python; the books agree with it at every step."""

import random
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from accounts.errors import DomainError
from billing import audit, ledger
from billing.entitlements import terms_of
from billing.holds import hold_capture, hold_place, hold_release
from billing.models import EntryKind, Hold, UsageDay
from tests.support.money import move_to, wallet_of

STEPS = 2_000
AUDIT_EVERY = 100
# The roll-up is settlement's, which this test does without.
CHECKS = [check for check in audit.CHECKS if "buckets" not in check.name]


class Books:
    """The model: what a wallet and a day of free calls should be, by arithmetic alone."""

    def __init__(self, free_limit):
        self.balance = self.held = 0
        self.free_limit = free_limit
        self.free_used = Counter()
        self.open = {}
        self.posted = set()


class Driver:
    """Makes each random move twice: in the database and in the model."""

    def __init__(self, account, seed):
        self.account, self.random, self.model = account, random.Random(seed), Books(100)
        self.now = datetime(2026, 2, 27, 20, tzinfo=UTC)
        self.reference = 0

    def step(self):
        self.now += timedelta(seconds=self.random.randint(0, 300))
        self.random.choices(
            [self.admit, self.capture, self.release, self.grant, self.post_again, self.overspend], [40, 25, 12, 6, 5, 2]
        )[0]()

    def admit(self):
        self.reference += 1
        images, price = self.random.randint(1, 4), self.random.choice([0, 1, 2_000, 4_700])
        day = self.now.date()
        with transaction.atomic():
            try:
                source = hold_place(
                    reference=self.reference,
                    account_id=self.account.pk,
                    terms=terms_of(self.account.pk, now=self.now),
                    price_code="sd15",
                    model_id="demo",
                    unit_price_microusd=price,
                    images=images,
                    now=self.now,
                ).source.value
            except DomainError as refusal:
                source = refusal.code
        if self.model.free_used[day] < self.model.free_limit:
            self.model.free_used[day] += 1
            expected = "free_day"
        elif self.model.balance - self.model.held >= images * price:
            self.model.held += images * price
            expected = "funds"
        else:
            expected = "funds_exhausted"
        assert source == expected
        if expected != "funds_exhausted":
            self.model.open[self.reference] = (source, images, price, day)

    def capture(self):
        reference, hold = self._any_open()
        if reference is None:
            return
        source, images, price, day = hold
        delivered = self.random.randint(0, images)
        with transaction.atomic():
            hold_capture(reference=reference, images=delivered, now=self.now)
        if source == "funds":
            self.model.held -= images * price
            self.model.balance -= delivered * price
        elif delivered == 0:
            self.model.free_used[day] -= 1

    def release(self):
        reference, hold = self._any_open()
        if reference is None:
            return
        source, images, price, day = hold
        for _ in range(2):  # A second release, by a sweep say, must change nothing.
            with transaction.atomic():
                hold_release(reference=reference)
        if source == "funds":
            self.model.held -= images * price
        else:
            self.model.free_used[day] -= 1

    def grant(self):
        key, amount = f"grant:{secrets.token_hex(4)}", self.random.randint(1, 50_000)
        self._post(key, amount)
        self.model.balance += amount
        self.model.posted.add((key, amount))

    def post_again(self):
        if self.model.posted:
            self._post(*self.random.choice(sorted(self.model.posted)))

    def overspend(self):
        """By hand, past every guard of the code: the database itself refuses."""
        with pytest.raises(DatabaseError), transaction.atomic():
            ledger.entry_post(
                account_id=self.account.pk,
                kind=EntryKind.ADJUSTMENT,
                amount_microusd=-(self.model.balance + 1),
                op_key=f"steal:{secrets.token_hex(4)}",
                now=self.now,
            )

    def check(self):
        wallet = wallet_of(self.account)
        assert (wallet.balance_microusd, wallet.held_microusd) == (self.model.balance, self.model.held)
        days = dict(UsageDay.objects.values_list("day", "calls"))
        assert days == {day: calls for day, calls in self.model.free_used.items() if calls or day in days}
        assert Hold.objects.filter(state="open").count() == len(self.model.open)

    def _post(self, key, amount):
        with transaction.atomic():
            ledger.entry_post(
                account_id=self.account.pk, kind=EntryKind.GRANT, amount_microusd=amount, op_key=key, now=self.now
            )

    def _any_open(self):
        if not self.model.open:
            return None, None
        reference = self.random.choice(sorted(self.model.open))
        return reference, self.model.open.pop(reference)


@pytest.mark.parametrize("seed", [1, 2, "random"])
def test_the_books_agree_with_the_model_at_every_step(alice, seed):
    seed = secrets.randbelow(10**6) if seed == "random" else seed
    move_to(alice.account, "payg")
    driver = Driver(alice.account, seed)
    for step in range(1, STEPS + 1):
        driver.step()
        driver.check()
        if step % AUDIT_EVERY == 0:
            differences = [finding.check.name for finding in audit.audit_run(CHECKS) if not finding.passed]
            assert differences == [], f"seed {seed}, step {step}"


def test_the_model_notices_a_ledger_that_forgets(alice, monkeypatch):
    """The negative control: a capture that gives back too little of its hold is found within a few steps."""
    move_to(alice.account, "payg")
    honest = ledger.entry_post

    def forgetful(*, release_held_microusd=0, **fields):
        return honest(release_held_microusd=release_held_microusd // 2, **fields)

    monkeypatch.setattr(ledger, "entry_post", forgetful)
    with pytest.raises(AssertionError):
        drive(Driver(alice.account, 3))


def drive(driver):
    for _ in range(STEPS):
        driver.step()
        driver.check()
