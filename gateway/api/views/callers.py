"""Who calls, for every handler: the key, and whether it may do this."""

from __future__ import annotations

from accounts.errors import ScopeDenied
from gateway.api.authentication import Caller, caller_authenticate
from gateway.api.parsing import Call


def authenticate(call: Call, *scopes: str) -> Caller:
    """The caller, if its key has one of `scopes` (a key without any may do everything)."""
    caller = caller_authenticate(key=call.key, address=call.address, now=call.now, origin=call.origin)
    if caller.key.scopes and not any(scope in caller.key.scopes for scope in scopes):
        raise ScopeDenied(scope=scopes[0])
    call.caller = caller
    return caller
