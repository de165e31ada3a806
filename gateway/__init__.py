"""The edge, the orchestration, and the Django project package."""

from gateway.celery import app as celery_app

__all__ = ["celery_app"]
