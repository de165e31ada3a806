"""The page behind a shared link, for whoever has it. Its pictures come through the link as well: their own addresses
stay unknown, so that a revoked link leaves nothing to look at.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from gateway.dashboard.pictures import Shown
from gateway.dashboard.playground_form import values_asked
from gateway.services.gallery import link_opened
from gateway.site.context import base_url
from inference.models import Generation, ImageModel
from inference.storage import FileMissing, content_type_of, get_storage

# Fields whose pictures are not shared along: the playground starts without them.
BROUGHT = frozenset({"init_image", "mask_image", "image", "url", "control_image", "webhook", "track_id"})
# How long a browser may show a picture again without asking whether the link still stands.
SEEN_AGAIN_S = 60


@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    generation = _opened(token)
    model = ImageModel.objects.filter(model_id=generation.model_id, published=True).first()
    asked = values_asked(generation.asked, operation=generation.operation)
    context = {
        "shown": Shown(generation),
        "generation": generation,
        "token": token,
        "model": model,
        "again": urlencode({name: value for name, value in asked.items() if name not in BROUGHT}),
        "address": base_url(request),
    }
    response = render(request, "site/shared.html", context)
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Referrer-Policy"] = "no-referrer"
    patch_cache_control(response, private=True, no_store=True)
    return response


@require_safe
def shared_picture(request: HttpRequest, token: str, index: int) -> HttpResponseBase:
    """One picture of the call, by its place."""
    picture = next((one for one in Shown(_opened(token)).pictures if one.index == index), None)
    if picture is None:
        raise Http404
    try:
        file = get_storage().open(picture.key)
    except FileMissing:
        raise Http404 from None
    response = FileResponse(file.body, content_type=content_type_of(picture.key) or "application/octet-stream")
    response["Content-Length"] = str(file.size_bytes)
    response["X-Robots-Tag"] = "noindex"
    patch_cache_control(response, private=True, max_age=SEEN_AGAIN_S)
    return response


def _opened(token: str) -> Generation:
    """Unknown, revoked, deleted: the same 404."""
    generation = link_opened(token)
    if generation is None:
        raise Http404
    return generation
