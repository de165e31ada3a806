"""Links to pictures for people without an account here: making one, the list of them, revoking one."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from gateway.api.parsing import client_address
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.pictures import Shown
from gateway.dashboard.requests import call_of, generations_of
from gateway.models import SharedLink
from gateway.services.gallery import GalleryProblem, link_make, link_revoke
from gateway.site.context import base_url

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A link in the list, with its call while that is kept."""

    link: SharedLink
    url: str
    shown: Shown | None


def link_url(request: AccountRequest, link: SharedLink) -> str:
    return base_url(request) + reverse("site:shared", kwargs={"token": link.token})


@account_page(section="gallery")
@require_safe
def shares(request: AccountRequest) -> HttpResponse:
    """Open links first: those are what strangers can see now."""
    mine = SharedLink.objects.filter(account_id=request.account.pk).select_related("created_by")
    revoked = request.GET.get("revoked") == "1"
    paginator = Paginator(mine.filter(revoked_at__isnull=not revoked).order_by("-id"), PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    calls = generations_of(request.account).filter(pk__in=[link.generation_id for link in page.object_list])
    kept = {call.pk: Shown(call) for call in calls.filter(erased_at=None).defer("spec", "reply")}
    rows = [Row(link, link_url(request, link), kept.get(link.generation_id)) for link in page.object_list]
    context = {"page": page, "rows": rows, "revoked": revoked, "may_change": request.role in MAKERS}
    return render(request, "dashboard/shares.html", context)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def share(request: AccountRequest, generation_id: int) -> HttpResponse:
    """A script gets the address as JSON; a plain form comes back to the call's page, which shows it."""
    scripted = "application/json" in request.headers.get("Accept", "")
    try:
        link = link_make(
            account=request.account,
            generation=call_of(request, generation_id),
            by=request.user,
            now=timezone.now(),
            address=client_address(request),
        )
    except GalleryProblem as problem:
        if scripted:
            return JsonResponse({"status": "error", "message": str(problem)}, status=409)
        messages.error(request, str(problem))
        return redirect("dashboard:request", generation_id=generation_id)
    if scripted:
        return JsonResponse({"status": "success", "url": link_url(request, link)})
    return redirect("dashboard:request", generation_id=generation_id)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def share_revoke(request: AccountRequest, link_id: int) -> HttpResponse:
    if link_revoke(
        account=request.account,
        link_id=link_id,
        by=request.user,
        now=timezone.now(),
        address=client_address(request),
    ):
        messages.success(request, _("The link shows nothing any more."))
    return redirect("dashboard:shares")
