"""The application gateway, and what of the packages' static files is collected."""

from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    default = True  # of those in this module

    def ready(self) -> None:
        from billing.signals import money_told
        from gateway.webhooks_out.alerts import alert_queue

        money_told.connect(alert_queue, dispatch_uid="gateway.alerts")


class StaticFiles(StaticFilesConfig):
    """Leaves out what no page uses: the framework's API pages, and htmx's extensions (one does not even collect)."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "ext", "rest_framework"]
