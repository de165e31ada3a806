"""Measurements that anyone can repeat: each prints a table of ratios measured in one run and writes it as JSON."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
