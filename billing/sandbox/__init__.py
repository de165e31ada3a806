"""A stateful stand-in for Stripe, spoken to by the real stripe-python over HTTP on loopback.

For development and tests only. It must not import Django, stripe or the ledger: what it knows of Stripe it is checked
against by the contract inside the installed SDK.
"""

from billing.sandbox.sandbox import API_KEY, WEBHOOK_SECRET, SandboxStripe
from billing.sandbox.world import Rules

__all__ = ["API_KEY", "WEBHOOK_SECRET", "Rules", "SandboxStripe"]
