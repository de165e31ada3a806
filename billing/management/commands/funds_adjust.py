"""Credits, corrections and refunds by the operator: each asks for a reason and records who."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.utils import timezone

from accounts.errors import DomainError
from accounts.models import User
from billing.models import TopUp, Wallet
from billing.money import cents_from_microusd, usd_parse, usd_text
from billing.refunds import refund_make
from billing.services import funds_adjust, funds_grant, invoice_settle


class Command(BaseCommand):
    help = (
        "Give (--grant) or correct (--adjust, may be negative) an account's funds, book an invoice of post-paid calls"
        " that was paid elsewhere (--invoice), or refund a top-up (--refund)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", type=int, help="the account's number")
        kind = parser.add_mutually_exclusive_group(required=True)
        kind.add_argument("--grant", metavar="USD")
        kind.add_argument("--adjust", metavar="USD")
        kind.add_argument("--invoice", metavar="USD")
        kind.add_argument("--refund", metavar="USD")
        parser.add_argument("--top-up", default="", help="with --refund: the top-up's public id")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", required=True, help="e-mail address of the member of staff who decides")
        parser.add_argument("--key", default="", help="name the action, so that repeating it does it once")

    def handle(self, *args: Any, **options: Any) -> None:
        by = User.objects.filter(email=options["by"].lower(), is_staff=True).first()
        if by is None:
            raise CommandError(f"{options['by']} is no member of staff.")
        if not Wallet.objects.filter(pk=options["account"]).exists():
            raise CommandError(f"There is no account {options['account']}.")
        if not options["reason"].strip():
            raise CommandError("A reason is needed.")
        try:
            self._act(options, by)
        except (DomainError, ValueError) as problem:
            raise CommandError(str(problem)) from problem
        except IntegrityError:
            raise CommandError("This would take more than the account has left.") from None
        wallet = Wallet.objects.get(pk=options["account"])
        self.stdout.write(f"Balance: ${usd_text(wallet.balance_microusd)}")

    def _act(self, options: dict[str, Any], by: User) -> None:
        now = timezone.now()
        if options["refund"] is not None:
            top_up = TopUp.objects.filter(public_id=options["top_up"], account_id=options["account"]).first()
            if top_up is None:
                raise CommandError(f"The account has no top-up {options['top_up']!r}.")
            cents = cents_from_microusd(usd_parse(options["refund"]))
            refund_make(top_up=top_up, amount_cents=cents, reason=options["reason"], by=by, now=now)
            return
        services = {"grant": funds_grant, "adjust": funds_adjust, "invoice": invoice_settle}
        kind = next(kind for kind in services if options[kind] is not None)
        amount_microusd = usd_parse(options[kind])
        if kind != "adjust" and amount_microusd <= 0:
            raise CommandError("More than zero: --adjust takes away.")
        services[kind](
            account_id=options["account"],
            amount_microusd=amount_microusd,
            op_key=options["key"] or uuid.uuid4().hex,
            now=now,
            reason=options["reason"],
            by=by,
        )
