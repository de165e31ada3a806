"""Disputes: opened by a test card or a test, answered with evidence, and closed one way or the other.

Evidence texts `winning_evidence` and `losing_evidence` decide at once, as in Stripe's test mode
(docs.stripe.com/testing).
"""

from billing.sandbox import balance
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import Refusal
from billing.sandbox.routing import Call, action, route
from billing.sandbox.world import Obj, World

ANSWER_WITHIN_S = 21 * DAY_S
OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
FINAL = ("won", "lost", "prevented", "warning_closed")
DECIDING_TEXTS = {"winning_evidence": "won", "losing_evidence": "lost"}


@action("dispute.open")
def open_when_due(world: World, charge_id: str) -> None:
    charge = world.get("charge", charge_id)
    if not charge["disputed"]:
        open_dispute(world, charge)


def open_dispute(world: World, charge: Obj, *, amount: int | None = None, inquiry: bool = False) -> Obj:
    """Disputes a charge. An inquiry takes no money yet; a dispute takes the amount and a fee at once."""
    if charge["disputed"]:
        raise Refusal(f"Charge {charge['id']} is already disputed.")
    now = world.now(charge["customer"])
    details = {"due_by": now + ANSWER_WITHIN_S, "enhanced_eligibility": {}, "has_evidence": False, "past_due": False}
    dispute = world.new(
        "dispute",
        id=world.new_id("du"),
        amount=amount or charge["amount"],
        charge=charge["id"],
        created=now,
        currency=charge["currency"],
        evidence_details={**details, "submission_count": 0, "submission_method": "not_submitted"},
        is_charge_refundable=inquiry,
        payment_intent=charge["payment_intent"],
        status="warning_needs_response" if inquiry else "needs_response",
    )
    charge["disputed"] = True
    world.emit("charge.dispute.created", dispute)
    if not inquiry:
        withdraw(world, dispute)
    return dispute


def withdraw(world: World, dispute: Obj) -> None:
    _book(world, dispute, -dispute["amount"], balance.DISPUTE_FEE_CENTS, "dispute")
    world.emit("charge.dispute.funds_withdrawn", dispute)


def _book(world: World, dispute: Obj, amount: int, fee: int, category: str) -> None:
    source = {**dispute, "customer": world.get("charge", dispute["charge"])["customer"]}
    booked = balance.record(world, source, amount, fee=fee, kind="adjustment", category=category)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], booked]


def close(world: World, dispute: Obj, status: str) -> Obj:
    """Ends a dispute. Won money comes back, in an event of its own."""
    if dispute["status"] in FINAL:
        raise Refusal(f"This dispute is already closed: its status is {dispute['status']}.")
    world.change(dispute, "charge.dispute.updated", status=status)
    taken = sum(booked["amount"] for booked in dispute["balance_transactions"])
    world.emit("charge.dispute.closed", dispute)
    if status == "won" and taken < 0:
        _book(world, dispute, -taken, 0, "dispute_reversal")
        world.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


@route("GET", "/v1/disputes/{dispute}")
def dispute_retrieve(call: Call) -> Obj:
    return call.world.get("dispute", call.id)


@route("POST", "/v1/disputes/{dispute}")
def dispute_update(call: Call) -> Obj:
    dispute, world = call.world.get("dispute", call.id), call.world
    evidence = call.params.plain("evidence", {}) or {}
    submit = call.params.get("submit", False)
    details = {
        **dispute["evidence_details"],
        "has_evidence": bool(evidence) or dispute["evidence_details"]["has_evidence"],
    }
    fields: Obj = {"metadata": merged(dispute["metadata"], call.params)}
    if submit:
        details.update(submission_count=details["submission_count"] + 1, submission_method="manual")
        fields["status"] = "warning_under_review" if dispute["status"].startswith("warning") else "under_review"
    fields.update(evidence={**dispute["evidence"], **evidence}, evidence_details=details)
    world.change(dispute, "charge.dispute.updated", **fields)
    decided = DECIDING_TEXTS.get(evidence.get("uncategorized_text", "")) if submit else None
    return close(world, dispute, decided) if decided else dispute


@route("POST", "/v1/disputes/{dispute}/close")
def dispute_close(call: Call) -> Obj:
    """Gives up: the dispute is lost."""
    return close(call.world, call.world.get("dispute", call.id), "lost")


@route("GET", "/v1/disputes")
def dispute_list(call: Call) -> Obj:
    found = matching(call, call.world.all("dispute"), "charge", "payment_intent", "created")
    return page(call, "/v1/disputes", found)
