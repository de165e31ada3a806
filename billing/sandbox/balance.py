"""Balance transactions: what each movement adds to or takes from the seller's Stripe balance, fees included."""

from billing.sandbox.lists import matching, page
from billing.sandbox.periods import DAY_S
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World

CARD_FEE_BASIS_POINTS = 290
CARD_FEE_FIXED_CENTS = 30
BANK_FEE_BASIS_POINTS = 80
BANK_FEE_CENTS_MAX = 500
DISPUTE_FEE_CENTS = 1500
AVAILABLE_AFTER_S = 2 * DAY_S


def fee_cents(amount: int, payment_type: str) -> int:
    """Stripe's usual fee for the United States, rounded half up to a cent."""
    if payment_type == "card":
        return (amount * CARD_FEE_BASIS_POINTS + 5_000) // 10_000 + CARD_FEE_FIXED_CENTS
    return min((amount * BANK_FEE_BASIS_POINTS + 5_000) // 10_000, BANK_FEE_CENTS_MAX)


def record(
    world: World, source: Obj, amount: int, *, fee: int = 0, kind: str, category: str, description: str | None = None
) -> Obj:
    now = world.now(source.get("customer"))
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Processing fees",
            "type": "stripe_fee",
        }
    ]
    return world.new(
        "balance_transaction",
        id=world.new_id("txn"),
        amount=amount,
        available_on=now + AVAILABLE_AFTER_S,
        created=now,
        currency=source["currency"],
        description=description,
        fee=fee,
        fee_details=details if fee else [],
        net=amount - fee,
        reporting_category=category,
        source=source["id"],
        type=kind,
    )


@route("GET", "/v1/balance_transactions/{id}")
def balance_transaction_retrieve(call: Call) -> Obj:
    return call.world.get("balance_transaction", call.id)


@route("GET", "/v1/balance_transactions")
def balance_transaction_list(call: Call) -> Obj:
    found = matching(call, call.world.all("balance_transaction"), "source", "type", "currency", "created")
    return page(call, "/v1/balance_transactions", found)
