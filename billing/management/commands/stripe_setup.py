"""Finds or makes the products, the prices and the portal's configuration at Stripe. Any number of times."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.errors import DomainError
from billing import stripe_client
from billing.prices import prices_ensure
from billing.stripe_client import StripeConfig
from billing.stripe_events import TYPES


class Command(BaseCommand):
    help = "Find or make the plans' products and prices at Stripe, by their lookup keys."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", default="", help="a key with more permissions than the service's own")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            config = stripe_client.current_config()
            if options["key"]:
                config = StripeConfig(options["key"], api_base=config.api_base)
            with stripe_client.connected(config):
                prices = prices_ensure(now=timezone.now())
        except DomainError as problem:
            raise CommandError(problem.message) from problem
        for price in prices:
            self.stdout.write(f"{price.plan_code}: {price.stripe_id}, {price.amount_cents} cents a month")
        self.stdout.write(f"Send these events to /stripe/webhook, API version {stripe_client.API_VERSION}:")
        self.stdout.write("  " + " ".join(TYPES))
