"""The Celery application of the CPU worker and of everyone who sends it work."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from celery import Celery
from django.conf import settings

from inference.broker import configure

app = Celery("gateway")
configure(app, run_dir=settings.RUN_DIR)
app.autodiscover_tasks(["gateway", "billing"])
