"""What staff does to a customer's money: corrections of the balance, and payments given back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing.errors import RefundRefused
from billing.models import TopUpState
from gateway.backoffice import actions
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.customers import account_found, answer, payments_of, refused
from gateway.backoffice.forms import CorrectForm, RefundForm
from gateway.templatetags.units import cents


@staff_page(section="customers", needs=Permission.FUNDS)
@require_POST
def customer_correct(request: StaffRequest, account_id: int) -> HttpResponse:
    account, form = account_found(account_id), CorrectForm(request.POST, prefix="correct")
    if form.is_valid() and form.cleaned_data["amount"] < -account.wallet.available_microusd:
        form.add_error("amount", "The account has not so much left: what is held or spent cannot be taken.")

    def act(data: dict[str, Any]) -> str:
        corrected = actions.account_correct(
            account=account,
            amount_microusd=data["amount"],
            nonce=data["nonce"],
            reason=data["reason"],
            by=request.user,
            now=timezone.now(),
        )
        return "The balance is corrected." if corrected else "This form was sent before: nothing more was booked."

    try:
        return answer(request, account, form, act)
    except actions.BalanceTooSmall as problem:
        form.add_error("amount", type(problem).__doc__ or "")
        return refused(request, account, form)


@staff_page(section="customers", needs=Permission.FUNDS)
@require_POST
def customer_refund(request: StaffRequest, account_id: int, top_up_id: int) -> HttpResponse:
    """The provider is asked at once; where it is away, the reconciler asks again."""
    account = account_found(account_id)
    top_up = get_object_or_404(payments_of(account), pk=top_up_id, state=TopUpState.PAID)
    form = RefundForm(request.POST, prefix="refund")
    if not form.is_valid():
        problems = (f"{name}: {problem}" for name, found in form.errors.items() for problem in found)
        messages.error(request, f"Nothing was refunded. {' '.join(problems)}")
        return redirect("backoffice:customer", account_id=account.pk)
    try:
        refund = actions.top_up_refund(
            top_up=top_up,
            amount_cents=form.cleaned_data["amount"],
            left_cents=form.cleaned_data["left"],
            reason=form.cleaned_data["reason"],
            by=request.user,
            now=timezone.now(),
        )
    except RefundRefused as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, f"{cents(refund.amount_cents)} is given back: {refund.get_state_display().lower()}.")
    return redirect("backoffice:customer", account_id=account.pk)
