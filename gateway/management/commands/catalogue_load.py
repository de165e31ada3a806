"""Load the plans, prices and models of a new installation. Running it again keeps what exists."""

from typing import Any

from django.core.management.base import BaseCommand

from billing.catalogue import catalogue_seed as billing_seed
from inference.catalogue import catalogue_seed as inference_seed


class Command(BaseCommand):
    help = "Load the seeded plans, prices and models; existing rows stay, but for our own words on the demo model."

    def handle(self, *args: Any, **options: Any) -> None:
        written = billing_seed() + inference_seed()
        self.stdout.write(f"{written} catalogue rows written." if written else "The catalogue is complete.")
