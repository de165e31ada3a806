"""Where Stripe's library enters: the modules beside this file take it from here, and it is loaded with its first use.

It and the HTTP library that it brings are a tenth of a web process's memory, and most processes never speak to Stripe.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import stripe as stripe
else:

    class _Library:
        def __getattr__(self, name: str) -> Any:
            import stripe

            stripe.enable_telemetry = False  # it would write an id into the home folder
            return getattr(stripe, name)

    stripe = _Library()
