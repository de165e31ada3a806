"""An account's data as a whole: seen with its own eyes, handed out, and erased."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import account_target, staff_action_record
from gateway.backoffice.customers import account_found, answer, refused
from gateway.backoffice.forms import EraseForm, ReasonForm
from gateway.dashboard.access import SESSION_ACTING
from gateway.dashboard.export import account_zip
from gateway.services.closing import account_close, closing_obstacle


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_act(request: StaffRequest, account_id: int) -> HttpResponse:
    account, form = account_found(account_id), ReasonForm(request.POST, prefix="act")
    if not form.is_valid():
        return refused(request, account, form)
    staff_action_record(
        by=request.user,
        action="begin acting as customer",
        target=account_target(account),
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
    )
    request.session[SESSION_ACTING] = account.pk
    return redirect("dashboard:home")


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def act_stop(request: StaffRequest) -> HttpResponse:
    account_id = request.session.pop(SESSION_ACTING, None)
    if account_id is None:
        return redirect("backoffice:customers")
    staff_action_record(
        by=request.user, action="stop acting as customer", target=f"account:{account_id}", now=timezone.now()
    )
    return redirect("backoffice:customer", account_id=account_id)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_export(request: StaffRequest, account_id: int) -> HttpResponseBase:
    account, form = account_found(account_id), ReasonForm(request.POST, prefix="export")
    if not form.is_valid():
        return refused(request, account, form)
    staff_action_record(
        by=request.user,
        action="export account",
        target=account_target(account),
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
    )
    archive = StreamingHttpResponse(account_zip(account), content_type="application/zip")
    archive["Content-Disposition"] = f'attachment; filename="account-{account.pk}.zip"'
    return archive


@staff_page(section="customers", needs=Permission.ERASE)
@require_POST
def customer_erase(request: StaffRequest, account_id: int) -> HttpResponse:
    """Recorded first: what comes after is not one transaction, as calls under way are cancelled one by one."""
    account, form = account_found(account_id), EraseForm(request.POST, account_id=account_id, prefix="erase")
    if obstacle := closing_obstacle(account):
        messages.error(request, obstacle)
        return redirect("backoffice:customer", account_id=account.pk)

    def act(data: dict[str, Any]) -> str:
        now = timezone.now()
        staff_action_record(
            by=request.user,
            action="erase account",
            target=account_target(account),
            before={"closed": False},
            after={"closed": True},
            reason=data["reason"],
            now=now,
        )
        account_close(account=account, now=now)
        return "The account is erased: prompts and pictures follow within minutes."

    return answer(request, account, form, act)
