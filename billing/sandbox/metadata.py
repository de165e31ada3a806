"""Stripe's rules for metadata (docs.stripe.com/api/metadata): keys merge, an empty value removes one, an empty string
removes all.
"""

from typing import Any

from billing.sandbox.params import Params
from billing.sandbox.refusals import parameter_invalid

KEYS_MAX = 50
KEY_LENGTH_MAX = 40
VALUE_LENGTH_MAX = 500


def merged(before: dict[str, str] | None, params: Params, name: str = "metadata") -> dict[str, str]:
    """The metadata after a request; unchanged when the request does not name it."""
    if name not in params:
        return dict(before or {})
    given: Any = params.plain(name)
    if given == "":
        return {}
    result = {**(before or {}), **{key: str(value) for key, value in given.items()}}
    result = {key: value for key, value in result.items() if value != ""}
    _check(result, name)
    return result


def _check(values: dict[str, str], name: str) -> None:
    if len(values) > KEYS_MAX:
        raise parameter_invalid(name, f"Metadata can have up to {KEYS_MAX} keys.")
    for key, value in values.items():
        if len(key) > KEY_LENGTH_MAX or len(value) > VALUE_LENGTH_MAX:
            raise parameter_invalid(
                f"{name}[{key}]",
                f"Metadata keys can have up to {KEY_LENGTH_MAX} characters and values up to {VALUE_LENGTH_MAX}.",
            )
