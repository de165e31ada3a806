"""Runs the stand-in Stripe on its own:
`python -m billing.sandbox --port 8046 --state FILE --webhook-url URL --secret whsec_...`.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from billing.sandbox.sandbox import WEBHOOK_SECRET, SandboxStripe
from billing.sandbox.world import Rules

SETTLE_S = 20  # a newcomer does not wait four days for a bank debit


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m billing.sandbox", description="A stand-in for Stripe on loopback.")
    parser.add_argument("--port", type=int, default=8046, help="0 chooses a free one (default: %(default)s)")
    parser.add_argument("--public-url", help="how browsers reach this server, if not at its own address")
    parser.add_argument("--state", type=Path, help="file that keeps everything between runs")
    parser.add_argument("--webhook-url", help="where events go")
    parser.add_argument("--secret", action="append", help=f"signing secret, repeatable (default: {WEBHOOK_SECRET})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--settle-after-s", type=int, default=SETTLE_S, help="how long a bank debit takes (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    stripe = SandboxStripe(
        seed=arguments.seed,
        port=arguments.port,
        public_url=arguments.public_url,
        state_file=arguments.state,
        webhook=arguments.webhook_url,
        secrets=tuple(arguments.secret or (WEBHOOK_SECRET,)),
        rules=Rules(settle_after_s=arguments.settle_after_s),
        automatic=True,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with stripe:
        sys.stdout.write(f"payment sandbox listening on {stripe.base_url}\n")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
