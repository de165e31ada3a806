"""What happens at Stripe without a request of ours: people pay, banks settle, disputes open, days pass.

One table serves the Python object and the control routes alike. Every operation takes keyword arguments and returns
plain JSON values.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from billing.sandbox import checkout, checkout_pay, disputes, invoices, meters, payments, portal, refunds, timeline
from billing.sandbox.payment_methods import BEHAVIOURS
from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.world import Obj, World

Operation: TypeAlias = Callable[..., Any]


def pay(world: World, *, session: str, method: str = "card", code: str = "", authenticated: bool = False) -> str:
    """Submits a session's pay page; answers "complete", "declined" or "requires_action"."""
    found = world.get("checkout.session", session, "session")
    return checkout_pay.pay(world, found, method, code=code, authenticated=authenticated)


def expire(world: World, *, session: str) -> Obj:
    found = world.get("checkout.session", session, "session")
    checkout.require_open(world, found)
    return checkout.expire(world, found)


def settle(world: World, *, payment_intent: str, succeeded: bool = True) -> Obj:
    """Ends a bank debit that is processing."""
    return payments.settle(world, world.get("payment_intent", payment_intent, "payment_intent"), succeeded=succeeded)


def method_behaves(world: World, *, payment_method: str, behaviour: str) -> None:
    """Lets a saved payment method behave otherwise from now on: cards expire, accounts run dry."""
    if behaviour not in BEHAVIOURS:
        raise parameter_invalid("behaviour", f"Choose one of {', '.join(BEHAVIOURS)}.")
    world.hide(world.get("payment_method", payment_method, "payment_method")["id"])["behaviour"] = behaviour


def refund_settle(world: World, *, refund: str, status: str = "succeeded") -> Obj:
    return refunds.settle(world, world.get("refund", refund, "refund"), status)


def dispute_open(world: World, *, charge: str, amount: int | None = None, inquiry: bool = False) -> Obj:
    return disputes.open_dispute(world, world.get("charge", charge, "charge"), amount=amount, inquiry=inquiry)


def dispute_close(world: World, *, dispute: str, status: str) -> Obj:
    """Closes as won, lost, prevented or warning_closed."""
    if status not in disputes.FINAL:
        raise parameter_invalid("status", f"Choose one of {', '.join(disputes.FINAL)}.")
    return disputes.close(world, world.get("dispute", dispute, "dispute"), status)


def portal_cancel(world: World, *, session: str, subscription: str) -> None:
    portal.cancel(world, world.get("billing_portal.session", session, "session"), subscription)


def portal_renew(world: World, *, session: str, subscription: str) -> None:
    portal.renew(world, world.get("billing_portal.session", session, "session"), subscription)


def portal_switch(world: World, *, session: str, subscription: str, price: str) -> None:
    portal.switch(world, world.get("billing_portal.session", session, "session"), subscription, price)


def portal_replace_method(world: World, *, session: str, method: str) -> None:
    portal.replace_method(world, world.get("billing_portal.session", session, "session"), method)


def advance(world: World, *, seconds: int = 0, days: int = 0) -> int:
    """Moves the sandbox's clock forward and does all that falls due on the way; answers the new time."""
    world.state.clock_offset_s += seconds + days * 86_400
    timeline.pass_time(world)
    return world.now()


def rules_set(world: World, **fields: Any) -> None:
    for name, value in fields.items():
        if not hasattr(world.rules, name):
            raise parameter_invalid(name, f"There is no rule called {name}.")
        setattr(world.rules, name, tuple(value) if isinstance(value, list) else value)


def invoice_pay(world: World, *, invoice: str) -> Obj:
    """The customer pays an invoice that was sent, by transfer."""
    found = world.get("invoice", invoice, "invoice")
    invoices.mark_paid(world, found)
    return found


def meter_errors(world: World) -> list[Obj]:
    """Meter events that cannot be counted, which Stripe reports by thin events."""
    timeline.pass_time(world)
    return meters.faulty_events(world)


OPERATIONS: dict[str, Operation] = {
    function.__name__: function
    for function in (
        pay,
        expire,
        settle,
        method_behaves,
        refund_settle,
        dispute_open,
        dispute_close,
        portal_cancel,
        portal_renew,
        portal_switch,
        portal_replace_method,
        advance,
        rules_set,
        invoice_pay,
        meter_errors,
    )
}
