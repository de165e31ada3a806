"""Run the dispatcher until it is told to stop. Any number may run; one at a time has the duty."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from gateway.dispatcher import Dispatcher


class Command(BaseCommand):
    help = "Give waiting generations to render workers; run sweeps and periodic work."
    # It must refuse to start on contradicting payments; the rest would load every page and is checked by `migrate`.
    requires_system_checks = ("payments",)

    def handle(self, *args: Any, **options: Any) -> None:
        dispatcher = Dispatcher()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: dispatcher.stop())
        dispatcher.run()
