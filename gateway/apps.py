"""The application gateway, and what of the packages' static files is collected."""

from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class GatewayConfig(AppConfig):
    name = "gateway"


class StaticFiles(StaticFilesConfig):
    """Leaves out htmx's extensions: no page uses them, and one names a module in a comment that does not exist."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "ext"]
