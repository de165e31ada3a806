"""The gallery: an account's delivered pictures, newest first, narrowed by filters and collections, and as a ZIP."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.selectors import keys_of
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.chosen import back_to, chosen_ids
from gateway.dashboard.deleted import calls_delete, deleted_of
from gateway.dashboard.export import Pipe
from gateway.dashboard.pictures import Picture, Shown
from gateway.dashboard.requests import generations_of
from gateway.dashboard.usage_selection import moment_of
from gateway.ids import generation_id_floor
from gateway.models import Collection, CollectionItem, SharedLink
from gateway.services.gallery import (
    FAVOURITES,
    GalleryProblem,
    collection_add,
    collection_delete,
    collection_take_out,
    favourite_turn,
)
from gateway.services.retention import keeps_for
from inference.models import Generation, GenerationState
from inference.storage import FileMissing, get_storage

PER_PAGE = 24
NAME_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the gallery is shown, from the address."""

    model_id: str = ""
    key_id: int | None = None
    collection_id: int | None = None
    search: str = ""
    size: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def parse(cls, values: QueryDict, zone: tzinfo) -> Filters:
        end = moment_of(values.get("to"), zone)
        return cls(
            model_id=values.get("model", "")[:120],
            key_id=_number(values.get("key", "")),
            collection_id=_number(values.get("collection", "")),
            search=values.get("q", "").strip()[:100],
            size=values.get("size", "") if _SIZE.fullmatch(values.get("size", "")) else "",
            start=moment_of(values.get("from"), zone),
            end=end and _day_after(end, values.get("to", "")),
        )

    def apply(self, rows: QuerySet[Generation], account_id: int) -> QuerySet[Generation]:
        if self.model_id:
            rows = rows.filter(model_id=self.model_id)
        if self.key_id is not None:
            rows = rows.filter(key_id=self.key_id)
        if self.size:
            width, height = self.size.split("x")
            rows = rows.filter(width_px=int(width), height_px=int(height))
        if self.start is not None:
            rows = rows.filter(pk__gte=generation_id_floor(self.start))
        if self.end is not None:
            rows = rows.filter(pk__lt=generation_id_floor(self.end))
        if self.search:
            rows = rows.filter(track_id=self.search)
        if self.collection_id is not None:
            items = CollectionItem.objects.filter(collection__account_id=account_id, collection_id=self.collection_id)
            rows = rows.filter(pk__in=items.values("generation_id"))
        return rows


_SIZE = re.compile(r"[1-9]\d{1,4}x[1-9]\d{1,4}")


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _day_after(moment: datetime, text: str) -> datetime:
    """A date alone means the whole of that day."""
    return moment + timedelta(days=1) if len(text.strip()) == len("2026-01-31") else moment


@account_page(section="gallery")
@require_safe
def gallery(request: AccountRequest) -> HttpResponse:
    account = request.account
    kept = generations_of(account).filter(state=GenerationState.SUCCEEDED, erased_at=None)
    filters = Filters.parse(request.GET, timezone.get_current_timezone())
    paginator = Paginator(filters.apply(kept, account.pk).defer("spec", "reply"), PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    kept_for = keeps_for(account)
    shown_rows = [Shown(row, kept_for) for row in page.object_list]
    collections = collections_of(account.pk)
    context = {
        "page": page,
        "tiles": [(shown, picture) for shown in shown_rows for picture in shown.pictures],
        "filters": filters,
        "is_filtered": filters != Filters(),
        "models": list(kept.order_by("model_id").values_list("model_id", flat=True).distinct()[:100]),
        "key_names": keys_of(account).order_by("name").values_list("pk", "name"),
        "collections": collections,
        "opened": next((one for one in collections if one.pk == filters.collection_id), None),
        "favourites": favourites_among(account.pk, [shown.id for shown in shown_rows]),
        "shared_count": SharedLink.objects.filter(account_id=account.pk, revoked_at=None).count(),
        "deleted_count": deleted_of(account.pk, timezone.now()).count(),
        "back": request.get_full_path(),
        "may_change": request.role in MAKERS,
    }
    return render(request, "dashboard/gallery.html", context)


def collections_of(account_id: int) -> list[Collection]:
    """Favourites first, then by name, each with its number of calls as `size`."""
    mine = Collection.objects.filter(account_id=account_id)
    return list(mine.annotate(size=Count("items")).order_by("name"))


def favourites_among(account_id: int, ids: list[int]) -> set[int]:
    items = CollectionItem.objects.filter(
        collection__account_id=account_id, collection__name=FAVOURITES, generation_id__in=ids
    )
    return set(items.values_list("generation_id", flat=True))


@account_page(section="gallery")
@require_http_methods(["GET", "HEAD", "POST"])
def gallery_zip(request: AccountRequest) -> StreamingHttpResponse:
    """The chosen generations' pictures (`id`, repeated), at most CHOSEN_MAX, one after the other through memory."""
    ids = chosen_ids(request.POST if request.method == "POST" else request.GET)
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
    if not calls_delete(request, list(generations_of(request.account).filter(pk__in=chosen_ids(request.POST)))):
        messages.error(request, _("Choose pictures to delete first."))
    return back_to(request)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def gallery_favourite(request: AccountRequest) -> HttpResponse:
    """Turn the mark of one call (`favourite`)."""
    generation_id = _number(request.POST.get("favourite", ""))
    if generation_id is None or not generations_of(request.account).filter(pk=generation_id).exists():
        raise Http404
    favourite_turn(account_id=request.account.pk, generation_id=generation_id, now=timezone.now())
    return back_to(request)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def gallery_collect(request: AccountRequest) -> HttpResponse:
    """Put the chosen calls into the named collection, an old or a new one."""
    name, chosen = " ".join(request.POST.get("name", "").split())[:NAME_CHARS_MAX], chosen_ids(request.POST)
    if not name or not chosen:
        messages.error(request, _("Choose pictures, and give the collection a name."))
        return back_to(request)
    try:
        found = collection_add(account_id=request.account.pk, name=name, generation_ids=chosen, now=timezone.now())
    except GalleryProblem as problem:
        messages.error(request, str(problem))
        return back_to(request)
    messages.success(request, _("They are in the collection %(name)s.") % {"name": name})
    return redirect(f"{reverse('dashboard:gallery')}?collection={found.pk}")


@account_page(section="gallery", roles=MAKERS)
@require_POST
def gallery_take_out(request: AccountRequest, collection_id: int) -> HttpResponse:
    collection_take_out(
        account_id=request.account.pk, collection_id=collection_id, generation_ids=chosen_ids(request.POST)
    )
    return back_to(request)


@account_page(section="gallery", roles=MAKERS)
@require_POST
def gallery_collection_delete(request: AccountRequest, collection_id: int) -> HttpResponse:
    if collection_delete(account_id=request.account.pk, collection_id=collection_id):
        messages.success(request, _("The collection is gone. Its pictures are still in the gallery."))
    return redirect("dashboard:gallery")


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
