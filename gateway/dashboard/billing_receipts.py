"""The receipt of a top-up: a page that prints as one sheet. Its facts are our row's; the provider has its own."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from billing.customers import owner_email
from billing.models import RefundState, TopUp, TopUpState
from billing.money import MICROUSD_PER_CENT
from gateway.dashboard.access import AccountRequest, account_page


@account_page(section="billing")
@require_safe
def receipt(request: AccountRequest, public_id: str) -> HttpResponse:
    paid = TopUp.objects.filter(account=request.account, state=TopUpState.PAID)
    top_up = get_object_or_404(paid, public_id=public_id)
    refunds = top_up.refunds.exclude(state=RefundState.FAILED).order_by("created_at")
    given_back_cents = sum(refund.amount_cents for refund in refunds)
    context = {
        "top_up": top_up,
        "account": request.account,
        "payer_email": owner_email(request.account),
        "amount_microusd": top_up.amount_cents * MICROUSD_PER_CENT,
        "refunds": [(refund, -refund.amount_cents * MICROUSD_PER_CENT) for refund in refunds],
        "total_microusd": (top_up.amount_cents - given_back_cents) * MICROUSD_PER_CENT,
    }
    return render(request, "dashboard/billing/receipt.html", context)
