"""Pages that have a markdown twin: who accepts text/markdown is given the twin at the page's own address."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

MARKDOWN = "text/markdown; charset=utf-8"


def wants_markdown(request: HttpRequest) -> bool:
    """Whether the reader names markdown; browsers never do."""
    return "text/markdown" in request.headers.get("Accept", "")


def varied(response: HttpResponse) -> HttpResponse:
    """Tell caches that the address has two faces."""
    patch_vary_headers(response, ["Accept"])
    return response
