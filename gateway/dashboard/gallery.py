"""The gallery: an account's delivered pictures, newest first, as a grid with numbered pages and as a ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.export import Pipe
from gateway.dashboard.pictures import Picture, Shown
from gateway.dashboard.requests import generations_of
from gateway.services.retention import generation_forget, keeps_for
from inference.models import GenerationState
from inference.storage import FileMissing, get_storage

PER_PAGE = 24
ZIP_MAX = 100


@account_page(section="gallery")
@require_safe
def gallery(request: AccountRequest) -> HttpResponse:
    done = generations_of(request.account).filter(state=GenerationState.SUCCEEDED, erased_at=None)
    models = list(done.order_by("model_id").values_list("model_id", flat=True).distinct()[:100])
    model_id = request.GET.get("model", "")
    if model_id in models:
        done = done.filter(model_id=model_id)
    paginator = Paginator(done.defer("spec", "reply"), PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    kept_for = keeps_for(request.account)
    shown_rows = [Shown(row, kept_for) for row in page.object_list]
    tiles = [(shown, picture) for shown in shown_rows for picture in shown.pictures]
    context = {
        "page": page,
        "tiles": tiles,
        "models": models,
        "model_id": model_id,
        "may_change": request.role in MAKERS,
    }
    return render(request, "dashboard/gallery.html", context)


@account_page(section="gallery")
@require_http_methods(["GET", "HEAD", "POST"])
def gallery_zip(request: AccountRequest) -> StreamingHttpResponse:
    """The chosen generations' pictures (`id`, repeated), at most ZIP_MAX, one after the other through memory."""
    ids = _chosen(request.POST if request.method == "POST" else request.GET)
    found = generations_of(request.account).filter(pk__in=ids, state=GenerationState.SUCCEEDED)
    pictures = [picture for generation in found for picture in Shown(generation).pictures]
    if not pictures:
        raise Http404
    response = StreamingHttpResponse(_zip(pictures), content_type="application/zip")
    response["Content-Disposition"] = 'attachment; filename="pictures.zip"'
    return response


@account_page(section="gallery", roles=MAKERS)
@require_POST
def gallery_delete(request: AccountRequest) -> HttpResponse:
    """Delete the prompts and all pictures of the chosen calls; their accounting lines stay."""
    now, chosen = timezone.now(), generations_of(request.account).filter(pk__in=_chosen(request.POST))
    gone = sum(generation_forget(generation, now=now) for generation in chosen)
    if gone:
        messages.success(request, f"The prompts and pictures of {gone} calls are deleted.")
    return redirect("dashboard:gallery")


def _chosen(values: QueryDict) -> list[int]:
    return [int(text) for text in values.getlist("id")[:ZIP_MAX] if text.isdecimal() and len(text) < 19]


def _zip(pictures: list[Picture]) -> Iterator[bytes]:
    storage, pipe = get_storage(), Pipe()
    # Stored, not deflated: PNG is compressed already.
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            try:
                data = storage.read(picture.key)
            except FileMissing:
                continue
            archive.writestr(picture.key.rpartition("/")[2], data)
            yield pipe.taken()
    yield pipe.taken()
