"""The connection to Stripe: configuration, one client for each, the guard against open transactions, and the errors.

It must not log secrets, request bodies or session addresses; an operation, a code and Stripe's request id are enough.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.conf import settings
from django.db import connections

from accounts.errors import DomainError
from billing.errors import CardDeclined, PaymentProviderRefused, PaymentProviderUnavailable, PaymentsNotConfigured
from billing.stripe_client.library import stripe

Plain: TypeAlias = dict[str, Any]

API_VERSION = "2026-10-28.endive"
TIMEOUT_S = 20
RETRIES_MAX = 2  # StripeClient alone would not retry at all
SANDBOX_API_KEY = "sk_test_sandbox"
LIVE_PREFIXES = ("sk_live_", "rk_live_")

logger = logging.getLogger(__name__)

# The library logs addresses and, at debug level, whole bodies.
logging.getLogger("stripe").setLevel(logging.WARNING)


@dataclass(frozen=True)
class StripeConfig:
    """How to reach Stripe. `api_base` is the stand-in's address, empty for Stripe itself."""

    api_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    api_base: str = ""
    timeout_s: float = TIMEOUT_S
    retries_max: int = RETRIES_MAX

    def __post_init__(self) -> None:
        if not self.api_key:
            raise PaymentsNotConfigured(reason="no API key")
        if self.api_base and self.livemode:
            raise PaymentsNotConfigured(reason="a live key is never sent to another address than Stripe's")

    @property
    def livemode(self) -> bool:
        return self.api_key.startswith(LIVE_PREFIXES)

    @classmethod
    def from_settings(cls) -> StripeConfig:
        """The configuration of this installation; raises PaymentsNotConfigured when payments are off."""
        sandbox = settings.BILLING_PROVIDER == "sandbox"
        return cls(
            api_key=settings.STRIPE_API_KEY or (SANDBOX_API_KEY if sandbox and settings.STRIPE_API_BASE else ""),
            webhook_secrets=tuple(secret for secret in settings.STRIPE_WEBHOOK_SECRETS if secret.strip()),
            api_base=settings.STRIPE_API_BASE.rstrip("/"),
        )


_chosen: ContextVar[StripeConfig | None] = ContextVar("stripe_config", default=None)


def current_config() -> StripeConfig:
    return _chosen.get() or StripeConfig.from_settings()


def is_configured() -> bool:
    try:
        current_config()
    except PaymentsNotConfigured:
        return False
    return True


@contextmanager
def connected(config: StripeConfig) -> Iterator[None]:
    """Uses another configuration inside, as the set-up command does with a key of its own."""
    token = _chosen.set(config)
    try:
        yield
    finally:
        _chosen.reset(token)


@functools.lru_cache(maxsize=8)
def _client(config: StripeConfig) -> stripe.StripeClient:
    addresses: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), config.api_base)
    return stripe.StripeClient(
        config.api_key,
        stripe_version=API_VERSION,
        max_network_retries=config.retries_max,
        http_client=stripe.RequestsClient(timeout=config.timeout_s),
        base_addresses=addresses if config.api_base else None,
    )


def _require_no_transaction() -> None:
    """A call takes up to a minute with its retries; rows locked for so long would stop the house."""
    for connection in connections.all(initialized_only=True):
        blocks = getattr(connection, "atomic_blocks", [])
        if any(not getattr(block, "_from_testcase", False) for block in blocks):
            raise RuntimeError("Stripe must not be called inside a database transaction")


def call(operation: str, run: Callable[[stripe.StripeClient], Any], *, moves_money: bool = False) -> Any:
    """Runs one call and answers its plain value; `moves_money` marks calls that a lost answer leaves in the dark."""
    _require_no_transaction()
    client = _client(current_config())
    try:
        return plain(run(client))
    except stripe.StripeError as error:
        translated = _translated(operation, error, moves_money=moves_money)
    # Outside the except block: the library's error carries the whole answer and must not travel along in the traceback.
    raise translated


def plain(value: Any) -> Any:
    """Plain JSON values instead of the library's objects, whose Decimals become text."""
    if isinstance(value, stripe.StripeObject):
        return value.to_dict(for_json=True)
    return [plain(item) for item in value] if isinstance(value, list) else value


def _translated(operation: str, error: stripe.StripeError, *, moves_money: bool) -> DomainError:
    """Billing's error for Stripe's. A missing permission is a fault of configuration, never of a payment."""
    logger.warning(
        "stripe %s failed: %s status=%s code=%s request=%s",
        operation,
        type(error).__name__,
        error.http_status,
        error.code,
        error.request_id,
    )
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return PaymentsNotConfigured(reason=f"Stripe refuses this key for {operation}")
    if isinstance(error, stripe.CardError):
        return _declined(error)
    if isinstance(error, stripe.InvalidRequestError | stripe.IdempotencyError):
        param = getattr(error, "param", None)
        facts = {"provider_code": error.code, "param": param, "missing": error.http_status == 404}
        return PaymentProviderRefused(reason=error.user_message or "no reason given", **facts)
    refused_early = isinstance(error, stripe.RateLimitError)
    return PaymentProviderUnavailable(operation=operation, outcome_unknown=moves_money and not refused_early)


def _declined(error: stripe.CardError) -> CardDeclined:
    details: Plain = plain(error.error) if error.error else {}
    intent = details.get("payment_intent") or {}
    return CardDeclined(
        reason=error.user_message or "no reason given",
        provider_code=error.code,
        decline_code=details.get("decline_code"),
        payment_intent_id=intent.get("id"),
        needs_person=error.code == "authentication_required",
    )
