"""Another plan for an account, by the operator: also the post-paid one, which nobody can take for himself."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.errors import DomainError
from accounts.models import Account, User
from billing.money import usd_parse, usd_text
from billing.postpaid import METERED
from gateway.backoffice.actions import account_plan_change


class Command(BaseCommand):
    help = "Put an account under another plan. The metered plan is invoiced afterwards and needs a --limit a month."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", type=int, help="the account's number")
        parser.add_argument("plan", help="the plan's code")
        parser.add_argument("--limit", metavar="USD", help=f"with {METERED}: what may be owed for one month")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", required=True, help="e-mail address of the member of staff who decides")

    def handle(self, *args: Any, **options: Any) -> None:
        by = User.objects.filter(email=options["by"].lower(), is_staff=True).first()
        account = Account.objects.filter(pk=options["account"]).first()
        if by is None or account is None or not options["reason"].strip():
            raise CommandError("An account, a member of staff and a reason are needed.")
        try:
            limit_microusd = usd_parse(options["limit"]) if options["limit"] else None
            account_plan_change(
                account=account,
                plan_code=options["plan"],
                postpaid_limit_microusd=limit_microusd,
                reason=options["reason"],
                by=by,
                now=timezone.now(),
            )
        except (DomainError, ValueError) as problem:
            raise CommandError(str(problem)) from problem
        limit = f", up to ${usd_text(limit_microusd, places=2)} a month" if limit_microusd else ""
        self.stdout.write(f"{account.name}: {options['plan']}{limit}")
