"""Refusals and faults of money. Typed fields, message from the docstring, no word of HTTP."""

from __future__ import annotations

from accounts.errors import DomainError


class FundsExhausted(DomainError):
    """This call costs ${cost_usd} and the account has ${available_usd} left: add funds at {billing_url}."""

    code = "funds_exhausted"


class DailyQuotaExhausted(DomainError):
    """The {limit} free calls of this UTC day are used up. They reset at {resets_at}; to go on at once, add funds
    or choose a plan at {billing_url}."""

    code = "daily_quota_exhausted"


class AllowanceExhausted(DomainError):
    """The {limit} calls of this billing period are used up. Switch on "continue from funds" and add funds,
    or choose a larger plan, at {billing_url}."""

    code = "allowance_exhausted"


class ModelNotInPlan(DomainError):
    """The plan "{plan}" does not include the model "{model_id}". Switch on "continue from funds" and add funds,
    or choose a plan that includes it, at {billing_url}."""

    code = "model_not_in_plan"


class PriceMissing(DomainError):
    """The model "{model_id}" has no price yet, so it cannot be used. The operator has been told."""

    code = "price_missing"


class SpendLimitReached(DomainError):
    """The spending limit of ${limit_usd} for {scope} in {period} is reached. It resets at {resets_at}."""

    code = "spend_limit_reached"


class InvoiceUnpaid(DomainError):
    """This account owes ${owed_usd} of earlier months. Pay its invoices at {billing_url} to go on."""

    code = "invoice_unpaid"


class PostpaidLimitInvalid(DomainError):
    """The plan "{plan}" is invoiced afterwards: it needs a monthly limit above zero."""

    code = "postpaid_limit_invalid"


class AccountInArrears(DomainError):
    """A payment of this account was disputed or returned. Settle it at {billing_url} to go on."""

    code = "account_in_arrears"


class WalletMissing(DomainError):
    """The account {account_id} has no wallet."""

    code = "wallet_missing"


class LedgerConflict(DomainError):
    """The ledger already holds "{op_key}" with another amount: {posted_microusd}, now {asked_microusd}."""

    code = "ledger_conflict"


class PlanUnknown(DomainError):
    """There is no plan "{plan}"."""

    code = "plan_unknown"


class PaymentsNotConfigured(DomainError):
    """Payments are not configured on this installation: ask its operator to add funds."""

    code = "payments_not_configured"


class PaymentProviderUnavailable(DomainError):
    """The payment provider does not answer right now: try again in a minute. Whatever was paid is credited, once."""

    code = "payment_provider_unavailable"


class PaymentMismatch(DomainError):
    """A payment differs from what was asked for ({what}), so nothing was credited. Reference: {reference}."""

    code = "payment_mismatch"


class TopUpAmountInvalid(DomainError):
    """Funds are added in amounts from ${minimum_usd} to ${maximum_usd}."""

    code = "top_up_amount_invalid"


class SubscriptionExists(DomainError):
    """This account already has the plan "{plan}": change or cancel it in the billing portal."""

    code = "subscription_exists"


class PlanNotForSale(DomainError):
    """The plan "{plan}" cannot be subscribed to here."""

    code = "plan_not_for_sale"


class RefundRefused(DomainError):
    """This refund is not possible: {reason}"""

    code = "refund_refused"


class RechargeRefused(DomainError):
    """Auto-recharge cannot be switched on: {reason}"""

    code = "recharge_refused"


class PaymentProviderRefused(DomainError):
    """The payment provider refused the request: {reason}"""

    code = "payment_provider_refused"


class CardDeclined(DomainError):
    """The card was declined: {reason}"""

    code = "card_declined"
