"""The application gateway."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
