"""Documentation: markdown files of docs/site/ rendered here, the error page from the error table, the reference from
the OpenAPI document. A page and its markdown twin are one text.
"""

from __future__ import annotations

import functools
import html
import re
from dataclasses import dataclass
from pathlib import Path

import markdown
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from gateway.site import docs_samples, docs_search, error_list
from gateway.site.context import base_url, free_calls_per_day
from gateway.site.negotiation import MARKDOWN, varied, wants_markdown
from gateway.site.openapi import NOT_HERE, document
from gateway.site.reference import operations
from gateway.site.samples import curl_call

FOLDER = Path(settings.BASE_DIR) / "docs" / "site"
_FENCE = re.compile(r'<pre><code(?: class="language-([\w+-]+)")?>(.*?)</code></pre>', re.DOTALL)
_TABLE = re.compile(r"<table>(.*?)</table>", re.DOTALL)
LANGUAGES = {
    "sh": "Shell",
    "python": "Python",
    "json": "JSON",
    "javascript": "JavaScript",
    "php": "PHP",
    "http": "HTTP",
}


@dataclass(frozen=True, slots=True)
class DocsPage:
    """A page in the list. Its file is docs/site/<slug>.md."""

    slug: str
    title: str

    @property
    def url(self) -> str:
        return reverse("site:docs_page", kwargs={"slug": self.slug})


@dataclass(frozen=True, slots=True)
class DocsGroup:
    title: str
    pages: tuple[DocsPage, ...]


GROUPS = (
    DocsGroup(
        "Start",
        (
            DocsPage("quick-start", "Quick start"),
            DocsPage("authentication", "Authentication"),
            DocsPage("moving", "Moving from ModelsLab"),
        ),
    ),
    DocsGroup(
        "Using the API",
        (
            DocsPage("waiting", "Waiting and polling"),
            DocsPage("webhooks", "Webhooks"),
            DocsPage("idempotency", "Idempotency"),
            DocsPage("pictures", "Pictures and storage"),
        ),
    ),
    DocsGroup(
        "Rules",
        (
            DocsPage("errors", "Errors"),
            DocsPage("limits", "Limits"),
            DocsPage("billing", "Billing rules"),
            DocsPage("changelog", "Changelog"),
            DocsPage("reference", "API reference"),
        ),
    ),
)
# The reference has no file: it is made from the OpenAPI document.
PAGES = {page.slug: page for group in GROUPS for page in group.pages if page.slug != "reference"}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return page(request, slug="quick-start")


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    shown = _page(slug)
    if wants_markdown(request):
        return varied(page_markdown(request, slug))
    context = {
        "section": "docs",
        "docs_groups": GROUPS,
        "page": shown,
        "text": render_markdown(source(slug, request), base_url(request)),
    }
    return varied(render(request, "docs/page.html", context))


@require_safe
def page_markdown(request: HttpRequest, slug: str) -> HttpResponse:
    _page(slug)
    text = docs_samples.filled(source(slug, request), base_url(request), docs_samples.as_fences)
    return HttpResponse(text, content_type=MARKDOWN)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:100]
    texts = [(shown.url, shown.title, source(shown.slug, request)) for shown in PAGES.values()]
    texts += [
        (
            f"{reverse('site:reference')}#{found.anchor}",
            "API reference",
            f"# {found.method} {found.path}\n{found.summary}",
        )
        for group in operations()
        for found in group.operations
    ]
    context = {
        "section": "docs",
        "docs_groups": GROUPS,
        "page": DocsPage("search", "Search"),
        "query": query,
        "hits": docs_search.search(query, texts),
    }
    return render(request, "docs/search.html", context)


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Every operation of the OpenAPI document, in groups."""
    context = {
        "section": "docs",
        "docs_groups": GROUPS,
        "page": DocsPage("reference", "API reference"),
        "groups": [
            (
                group,
                [
                    (found, found.samples(base_url(request)) if group.title != NOT_HERE else [])
                    for found in group.operations
                ],
            )
            for group in operations()
        ],
        "query": request.GET.get("q", ""),
    }
    return render(request, "docs/reference.html", context)


@require_safe
def openapi(request: HttpRequest) -> JsonResponse:
    return JsonResponse(document())


def _page(slug: str) -> DocsPage:
    if slug not in PAGES:
        raise Http404
    return PAGES[slug]


def source(slug: str, request: HttpRequest) -> str:
    """The page's markdown with this installation's own values in place of its {{names}}."""
    text = _file(slug)
    values = {
        "base_url": base_url(request),
        "site_name": settings.SITE_NAME,
        "key_prefix": settings.API_KEY_PREFIX,
        "retention_days": str(settings.OUTPUT_RETENTION_DAYS),
        "wait_s": f"{settings.WAIT_TIMEOUT_S:g}",
        "free_calls": str(free_calls_per_day()) if "{{free_calls}}" in text else "",
        "errors": error_list.as_markdown() if "{{errors}}" in text else "",
        "first_call": curl_call(base_url=base_url(request), key="$API_KEY"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], text)


@functools.cache
def _file(slug: str) -> str:
    return (FOLDER / f"{slug}.md").read_text()


def render_markdown(text: str, address: str) -> SafeString:
    """Our own files as HTML, with our code blocks and scrolling tables. Never for what a stranger wrote."""
    body = markdown.markdown(text, extensions=["fenced_code", "tables", "toc", "sane_lists"])
    body = _TABLE.sub(_table, _FENCE.sub(_code, body))
    body = re.sub(r"<p>(\[\[samples[^<]*\]\])</p>", r"\1", body)
    return mark_safe(docs_samples.filled(body, address, docs_samples.as_tabs))  # noqa: S308


def _code(found: re.Match[str]) -> str:
    title = LANGUAGES.get(found[1] or "sh", found[1])
    return render_to_string("components/code.html", {"title": title, "text": html.unescape(found[2]).rstrip("\n")})


def _table(found: re.Match[str]) -> str:
    return f'<div class="table-wrap" tabindex="0" role="region" aria-label="Table"><table>{found[1]}</table></div>'
