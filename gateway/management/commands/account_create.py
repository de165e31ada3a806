"""Create an account and print its key: the only time that it is shown."""

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from billing.errors import PlanUnknown
from billing.money import usd_parse
from billing.services import funds_grant
from gateway.services import account_open


class Command(BaseCommand):
    help = "Create an account (and its user, if new) and print its API key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--plan", default="free", help="free, payg, standard, unlimited, premium or enterprise")
        parser.add_argument("--funds", default="0", metavar="USD", help="prepaid funds to grant, for example 25")

    @transaction.atomic
    def handle(self, *args: Any, email: str, plan: str, funds: str, **options: Any) -> None:
        now = timezone.now()
        try:
            amount_microusd = usd_parse(funds)
            user = User.objects.filter(email=email.lower()).first() or User.objects.create_user(email)
            account, key = account_open(owner=user, now=now, plan_code=plan)
        except (PlanUnknown, ValueError) as problem:
            raise CommandError(str(problem)) from None
        if amount_microusd > 0:
            funds_grant(
                account_id=account.pk,
                amount_microusd=amount_microusd,
                op_key=uuid.uuid4().hex,
                now=now,
                reason="granted at the account's creation",
            )
        self.stdout.write(key.text)
