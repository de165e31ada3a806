"""A closed account's customer is deleted at the provider, sooner or later; what was paid stays in the books."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from billing.customers import customer_ensure, customers_closing, customers_delete, turn_of
from billing.models import LedgerEntry, StripeCustomer, TopUp, TopUpState
from billing.sandbox import SandboxStripe
from gateway.services.closing import account_close
from tests.support.stripe import deliver, topup_pay


def alive(stripe: SandboxStripe) -> list[str]:
    return [one["id"] for one in stripe.world.all("customer") if not one.get("deleted")]


def test_it_is_deleted_and_the_payments_stay(stripe: SandboxStripe, alice: Any) -> None:
    topup_pay(stripe, alice.account)
    deliver(stripe)
    before = LedgerEntry.objects.count()
    assert len(alive(stripe)) == 1
    account_close(account=alice.account, now=timezone.now())
    assert (customers_closing(), customers_delete(), customers_closing(), customers_delete()) == (True, 1, False, 0)
    assert alive(stripe) == []
    deliver(stripe)
    assert StripeCustomer.objects.get().stripe_id is None
    assert TopUp.objects.get().state == TopUpState.PAID
    assert LedgerEntry.objects.count() == before


def test_an_account_that_never_paid_needs_no_call(stripe: SandboxStripe, alice: Any) -> None:
    account_close(account=alice.account, now=timezone.now())
    assert not customers_closing()
    assert customers_delete() == 0


def test_what_could_not_be_told_comes_again(stripe: SandboxStripe, alice: Any) -> None:
    customer_ensure(account=alice.account, now=timezone.now())
    account_close(account=alice.account, now=timezone.now())
    with turn_of(alice.account.pk):
        assert customers_delete() == 0
    for trouble in ("error", "drop_after_commit"):
        stripe.trouble.add(trouble, method="DELETE", path="/v1/customers/*")
        assert customers_delete() == 0
    assert customers_closing()
    assert customers_delete() == 1
    assert alive(stripe) == []


def test_one_that_is_gone_already_is_gone(stripe: SandboxStripe, alice: Any) -> None:
    customer_ensure(account=alice.account, now=timezone.now())
    account_close(account=alice.account, now=timezone.now())
    StripeCustomer.objects.update(stripe_id="cus_unknown")
    assert customers_delete() == 1
    assert not customers_closing()
