"""The demo account and the operator of a local installation, as JSON. Facts already known are not made again."""

import json
import secrets
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.services import key_create
from gateway.services import account_open

ADMIN_EMAIL = "admin@example.com"


class Command(BaseCommand):
    help = "Create the demo account with an operator who can log in; prints the facts of a first run as JSON."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        facts_file = settings.RUN_DIR / "demo.json"
        if facts_file.exists() and User.objects.filter(email=ADMIN_EMAIL).exists():
            self.stdout.write(facts_file.read_text())
            return
        facts = json.dumps(self._create())
        facts_file.touch(mode=0o600)
        facts_file.write_text(facts)
        self.stdout.write(facts)

    def _create(self) -> dict[str, str]:
        password = secrets.token_urlsafe(12)
        admin = User.objects.filter(email=ADMIN_EMAIL).first()
        if admin is None:
            admin = User.objects.create_superuser(ADMIN_EMAIL, password, name="Operator")
        admin.set_password(password)
        admin.save(update_fields=["password"])
        EmailAddress.objects.get_or_create(user=admin, email=ADMIN_EMAIL, defaults={"verified": True, "primary": True})
        membership = admin.memberships.select_related("account").first()
        if membership:
            key = key_create(account=membership.account, name="Demo", now=timezone.now(), created_by=admin)
        else:
            _, key = account_open(owner=admin, now=timezone.now(), name="Demo", key_name="Demo")
        return {"api_key": key.text, "admin_email": ADMIN_EMAIL, "admin_password": password}
