"""The Celery application of the CPU worker and of everyone who sends it work."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
# `migrate` checks the installation; a worker that did so again would load every page first, a third of its start.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

from celery import Celery
from django.conf import settings

from inference.broker import configure

app = Celery("gateway")
configure(app, run_dir=settings.RUN_DIR)
app.autodiscover_tasks(["gateway", "billing"])
