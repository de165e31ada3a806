"""The only place that writes through billing and inference together: each function is one transaction, one commit."""

from gateway.services.accounts import account_open
from gateway.services.place import Placement, generation_place, refusal_recall
from gateway.services.settle import (
    generation_abort,
    generation_cancel,
    generation_settle,
)

__all__ = [
    "Placement",
    "account_open",
    "generation_abort",
    "generation_cancel",
    "generation_place",
    "generation_settle",
    "refusal_recall",
]
