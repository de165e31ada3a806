"""Fill an installation with a month of invented customers and calls, to look at its pages."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.usage_days import house_folded_through
from gateway.caching import caches_clear
from gateway.demo_traffic import Traffic, there_already


class Command(BaseCommand):
    help = "Invent customers and a month of their calls, through the real services. Only where nobody else's money is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=30)
        parser.add_argument("--calls-per-day", type=int, default=120)
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, days: int, calls_per_day: int, seed: int, **options: Any) -> None:
        if settings.PUBLIC_URL:
            raise CommandError("This installation has a PUBLIC_URL: invented customers do not belong into it.")
        if there_already():
            raise CommandError("The invented customers are here already; a fresh database has none.")
        if not 1 <= days <= 90 or not 1 <= calls_per_day <= 5000:
            raise CommandError("--days goes from 1 to 90 and --calls-per-day from 1 to 5000.")
        now = timezone.now()
        through = house_folded_through()
        if through is not None and through >= (now - timedelta(days=days)).date():
            raise CommandError(f"Calls until {through} are summed up already: invented ones need a fresh database.")
        caches_clear()
        made = Traffic(days=days, calls_per_day=calls_per_day, seed=seed, now=now).run()
        self.stdout.write(f"{made.customers} customers, {made.calls} calls, {made.refused} refused.")
