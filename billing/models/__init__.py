"""Plans and prices as dated facts; wallets, holds and the ledger; what the payment provider and we agree about."""

from billing.models.books import EntryKind, LedgerEntry, LedgerQuerySet, Wallet
from billing.models.exports import ExportState, UsageExport
from billing.models.holds import (
    MONEY,
    Allowance,
    Hold,
    HoldState,
    Source,
    SpendMonth,
    UsageBucket,
    UsageDay,
    UsageFold,
    UsageFolding,
)
from billing.models.payments import (
    AutoRecharge,
    Dispute,
    Mode,
    MoneyNotice,
    Refund,
    RefundState,
    StripeCustomer,
    TopUp,
    TopUpState,
)
from billing.models.plans import Plan, Price
from billing.models.subscriptions import (
    AttemptState,
    EventCursor,
    EventState,
    StripeEvent,
    StripePrice,
    Subscription,
    SubscriptionAttempt,
)

__all__ = [
    "MONEY",
    "Allowance",
    "AttemptState",
    "AutoRecharge",
    "Dispute",
    "EntryKind",
    "EventCursor",
    "EventState",
    "ExportState",
    "Hold",
    "HoldState",
    "LedgerEntry",
    "LedgerQuerySet",
    "Mode",
    "MoneyNotice",
    "Plan",
    "Price",
    "Refund",
    "RefundState",
    "Source",
    "SpendMonth",
    "StripeCustomer",
    "StripeEvent",
    "StripePrice",
    "Subscription",
    "SubscriptionAttempt",
    "TopUp",
    "TopUpState",
    "UsageBucket",
    "UsageDay",
    "UsageExport",
    "UsageFold",
    "UsageFolding",
    "Wallet",
]
