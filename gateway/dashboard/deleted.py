"""What was deleted and can still be brought back: the list with its pictures, bringing back, removing for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.chosen import back_to, chosen_ids
from gateway.models import DeletedCall
from gateway.services.deleting import call_delete, call_remove, call_restore
from gateway.services.retention import erased_after
from inference.models import Generation
from inference.storage import FileMissing, content_type_of, deleted_key, get_storage

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A deleted call in the list."""

    deleted: DeletedCall

    @property
    def id(self) -> int:
        return self.deleted.generation_id

    @property
    def prompt(self) -> str:
        return str(self.deleted.kept["asked"].get("prompt") or "")


def deleted_of(account_id: int, now: datetime) -> QuerySet[DeletedCall]:
    """The account's deleted calls that can still be brought back, the last one first."""
    return DeletedCall.objects.filter(account_id=account_id, remove_at__gt=now).order_by("-deleted_at", "-pk")


@account_page(section="gallery")
@require_safe
def deleted_list(request: AccountRequest) -> HttpResponse:
    paginator = Paginator(deleted_of(request.account.pk, timezone.now()), PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    context = {
        "page": page,
        "rows": [Row(deleted) for deleted in page.object_list],
        "may_change": request.role in MAKERS,
    }
    return render(request, "dashboard/deleted.html", context)


@account_page(section="gallery")
@require_safe
def deleted_picture(request: AccountRequest, generation_id: int, index: int) -> HttpResponseBase:
    """One picture of a deleted call, for members alone: its own address shows nothing any more."""
    if generation_id >= 2**63:
        raise Http404
    deleted = deleted_of(request.account.pk, timezone.now()).filter(pk=generation_id).first()
    image = next((one for one in deleted.images if one["index"] == index), None) if deleted else None
    if deleted is None or image is None:
        raise Http404
    try:
        file = get_storage().open(deleted_key(image["key"], secret=deleted.secret))
    except FileMissing:
        raise Http404 from None
    response = FileResponse(file.body, content_type=content_type_of(image["key"]) or "application/octet-stream")
    response["Content-Length"] = str(file.size_bytes)
    return response


def calls_delete(request: AccountRequest, calls: list[Generation]) -> int:
    """Delete these calls of the account; how many were not deleted before. The next page offers to undo it."""
    now = timezone.now()
    gone = [
        call
        for call in calls
        if call_delete(generation=call, kept_until=erased_after(request.account, call.created_at), now=now)
    ]
    found = deleted_of(request.account.pk, now).filter(pk__in=[call.pk for call in gone])
    ids = " ".join(str(pk) for pk in found.values_list("pk", flat=True))
    if gone:
        words = ngettext("The call is deleted.", "%(count)s calls are deleted.", len(gone)) % {"count": len(gone)}
        if pictures := sum(call.images_delivered for call in gone):
            with_them = ngettext("One picture went with it.", "%(count)s pictures went with it.", pictures)
            words = f"{words} {with_them % {'count': pictures}}"
        messages.success(request, words, extra_tags=f"undo {ids}" if ids else "")
    return len(gone)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def restore(request: AccountRequest) -> HttpResponse:
    """Bring the chosen calls (`id`, repeated) back."""
    chosen, now = chosen_ids(request.POST), timezone.now()
    back = sum(call_restore(account_id=request.account.pk, generation_id=one, now=now) for one in chosen)
    if back:
        messages.success(request, ngettext("The call is back.", "%(count)s calls are back.", back) % {"count": back})
    if back < len(chosen):
        text = _("Some calls could not be brought back: they are gone for good, or were deleted a moment ago.")
        messages.error(request, text)
    return back_to(request)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def call_restored(request: AccountRequest, generation_id: int) -> HttpResponse:
    """One call, for a script that gets JSON."""
    now = timezone.now()
    back = generation_id < 2**63 and call_restore(account_id=request.account.pk, generation_id=generation_id, now=now)
    if not back:
        text = _("This call cannot be brought back any more.")
        return JsonResponse({"status": "error", "message": text}, status=409)
    return JsonResponse({"status": "success", "restored": True})


@account_page(section="gallery", roles=MAKERS)
@require_POST
def remove(request: AccountRequest) -> HttpResponse:
    """Remove the chosen deleted calls (`id`, repeated) for good."""
    now = timezone.now()
    gone = sum(
        call_remove(account_id=request.account.pk, generation_id=one, now=now) for one in chosen_ids(request.POST)
    )
    if gone:
        told = ngettext("The call is gone for good.", "%(count)s calls are gone for good.", gone)
        messages.success(request, told % {"count": gone})
    return redirect("dashboard:deleted")
