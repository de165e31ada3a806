"""A shop with the stand-in Stripe: what a customer does at its pages, and what its messages bring about."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone

from billing import stripe_client
from billing.models import StripeEvent, TopUp
from billing.reconcile import reconcile
from billing.sandbox import SandboxStripe
from billing.stripe_client import StripeConfig
from billing.stripe_events import event_receive, events_process
from billing.subscriptions import portal_page, subscribe_page
from billing.topups import topup_page, topup_start
from gateway.audit import audit

RETURN: dict[str, Any] = {
    "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "http://shop.test/",
}
_nonces = itertools.count()


@contextmanager
def shop(settings: Any, *, seed: int = 1) -> Iterator[SandboxStripe]:
    """Settings that sell through a stand-in of the test's own; without the library's repetitions, which pause."""
    with SandboxStripe(seed=seed) as stripe:
        settings.BILLING_PROVIDER = "sandbox"
        settings.STRIPE_API_KEY = ""
        settings.STRIPE_API_BASE = stripe.base_url
        settings.STRIPE_WEBHOOK_SECRETS = ["whsec_sandbox"]
        config = StripeConfig(
            stripe.api_key, ("whsec_sandbox",), api_base=stripe.base_url, timeout_s=2.0, retries_max=0
        )
        with stripe_client.connected(config):
            yield stripe
        assert stripe.faults == []


def session_id_of(page_url: str, stripe: SandboxStripe) -> str:
    """The newest session: its page is what was answered last."""
    sessions = stripe.world.all("checkout.session")
    assert page_url == sessions[-1]["url"]
    return str(sessions[-1]["id"])


def topup_ask(stripe: SandboxStripe, account: Any, amount_cents: int = 1000, **more: Any) -> TopUp:
    top_up = topup_start(
        account=account, amount_cents=amount_cents, nonce=f"n{next(_nonces)}", now=timezone.now(), by=None
    )
    topup_page(top_up=top_up, **RETURN, **more)
    top_up.refresh_from_db()
    return top_up


def topup_pay(stripe: SandboxStripe, account: Any, amount_cents: int = 1000, method: str = "card") -> TopUp:
    top_up = topup_ask(stripe, account, amount_cents)
    assert stripe.pay(session=top_up.session_id, method=method) == "complete"
    return top_up


def subscribe(stripe: SandboxStripe, account: Any, plan_code: str) -> str:
    """Pays for a plan at the stand-in's page; the id of the session."""
    url = subscribe_page(account=account, plan_code=plan_code, now=timezone.now(), **RETURN)
    session_id = session_id_of(url, stripe)
    assert stripe.pay(session=session_id) == "complete"
    return session_id


def portal(stripe: SandboxStripe, account: Any) -> str:
    portal_page(account=account, return_url="http://shop.test/", now=timezone.now())
    return str(stripe.world.all("billing_portal.session")[-1]["id"])


def receive(stripe: SandboxStripe, events: list[Any] | None = None) -> None:
    """Events straight into the inbox, as the verified webhook would put them."""
    import json

    for event in stripe.events if events is None else events:
        event_receive(event=event, body=json.dumps(event), now=timezone.now())


def process(rounds: int = 1) -> None:
    """Everything that waits, whenever it would have been due."""
    for _ in range(rounds):
        StripeEvent.objects.filter(state="new").update(next_attempt_at=timezone.now())
        events_process(now=timezone.now())


def deliver(stripe: SandboxStripe, events: list[Any] | None = None) -> None:
    receive(stripe, events)
    process()


def reconcile_late() -> None:
    """The reconciler's run, some time after all that happened."""
    from datetime import timedelta

    reconcile(now=timezone.now() + timedelta(minutes=5))
    process()


def differences() -> list[Any]:
    return [(finding.check.name, finding.rows) for finding in audit() if not finding.passed]
