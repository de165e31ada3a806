"""The catalogue's facets: which values there are, how many models each would leave, and the orders of the list.

Counts come from one grouped query over the searched models, so that ten thousand of them cost what ten do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Case, Count, F, IntegerField, QuerySet, Value, When
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from gateway.site.schema import OPERATION_NAMES
from inference.models import Generation, ImageModel

FAMILY_NAMES = {
    "sd15": _("Stable Diffusion 1.5 and 2"),
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3",
    "flux": "Flux",
    "upscaler": _("Upscalers"),
    "background": _("Background removal"),
}
# By the work of the model's usual picture, in megapixel steps: what a machine of any speed is slow or quick at.
SPEED_NAMES = {"quick": _("Quick"), "usual": _("Usual"), "thorough": _("Thorough")}
QUICK_BELOW, THOROUGH_FROM = 4_000_000, 20_000_000
FACETS = ("task", "family", "licence", "price", "speed")
TITLES = {"task": _("Task"), "family": _("Base"), "licence": _("Licence"), "price": _("Price"), "speed": _("Speed")}
SORTS = {
    "name": _("By name"),
    "popular": _("Most used"),
    "new": _("Newest first"),
    "price": _("Cheapest first"),
    "speed": _("Quickest first"),
}
# Popularity is counted over this many of the newest calls, and kept for a while.
NEWEST_CALLS = 5000
POPULAR_MAX = 100
_POPULAR_TTL_S = 300

WORK = F("steps_default") * F("width_px_default") * F("height_px_default")


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """One choice above the list."""

    key: str
    title: str
    chosen: str
    options: list[Option]


def with_speed(models: QuerySet[ImageModel]) -> QuerySet[Any]:
    speed = Case(
        When(work__lt=QUICK_BELOW, then=Value("quick")),
        When(work__gte=THOROUGH_FROM, then=Value("thorough")),
        default=Value("usual"),
    )
    return models.annotate(work=WORK).annotate(speed=speed)


def narrowed(models: QuerySet[Any], chosen: Mapping[str, str]) -> QuerySet[Any]:
    """The models that have every chosen value."""
    columns = {"family": "family", "licence": "licence", "price": "price_code"}
    for key, column in columns.items():
        if chosen.get(key):
            models = models.filter(**{column: chosen[key]})
    if chosen.get("task"):
        # A list inside JSON, found the same way by both databases: names of operations hold no quotes.
        models = models.filter(operations__icontains=f'"{chosen["task"]}"')
    return models.filter(speed=chosen["speed"]) if chosen.get("speed") else models


def facets_of(models: QuerySet[ImageModel], chosen: Mapping[str, str], prices: Mapping[str, str]) -> list[Facet]:
    """`models` are narrowed by text alone. Each facet counts what the other facets leave."""
    columns = ("operations", "family", "licence", "price_code", "speed")
    rows = models.order_by().values_list(*columns).annotate(count=Count("pk"))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for operations, *plain, count in rows:
        values: dict[str, Any] = dict(zip(FACETS, [operations, *plain], strict=True))
        missed = [key for key in FACETS if chosen.get(key) and not _has(values[key], chosen[key])]
        for key in FACETS:
            if set(missed) <= {key}:
                counts[key].update(dict.fromkeys(_listed(values[key]), count))
    names = {"task": OPERATION_NAMES, "family": FAMILY_NAMES, "price": prices, "speed": SPEED_NAMES}
    return [_facet(key, chosen.get(key, ""), counts[key], names.get(key, {})) for key in FACETS]


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _has(value: Any, wanted: str) -> bool:
    return wanted in _listed(value)


def _facet(key: str, chosen: str, counts: Counter[str], names: Mapping[str, str]) -> Facet:
    order = list(names)
    # What states none of it cannot be asked for: no value of an address means every model.
    values = sorted(
        filter(None, counts), key=lambda value: (order.index(value) if value in order else len(order), value)
    )
    options = [Option(value, gettext(names.get(value, value)), counts[value]) for value in values]
    return Facet(key=key, title=gettext(TITLES[key]), chosen=chosen, options=options)


def ordered(models: QuerySet[ImageModel], sort: str, amounts: Mapping[str, int]) -> QuerySet[ImageModel]:
    """`amounts` are micro-dollars of an image by price code."""
    if sort == "new":
        return models.order_by("-created_at", "pk")
    if sort == "speed":
        return models.order_by("work", "name", "pk")
    if sort == "price":
        return _by(models, "price_code", amounts, default=2**62)
    if sort == "popular":
        return _by(models, "model_id", {name: -calls for name, calls in popular().items()}, default=0)
    return models.order_by("name", "pk")


def _by(models: QuerySet[ImageModel], column: str, ranks: Mapping[str, int], *, default: int) -> QuerySet[ImageModel]:
    whens = [When(**{column: value}, then=Value(rank)) for value, rank in ranks.items()]
    rank: Any = Case(*whens, default=Value(default), output_field=IntegerField()) if whens else Value(0)
    return models.order_by(rank, "name", "pk")


def popular() -> dict[str, int]:
    """Calls by model among the newest of all, at most five minutes old."""
    found = cache.get_or_set("site:popular", _count_newest, _POPULAR_TTL_S)
    return dict(found or {})


def _count_newest() -> dict[str, int]:
    newest = Generation.objects.order_by("-id").values_list("model_id", flat=True)[:NEWEST_CALLS]
    return dict(Counter(newest).most_common(POPULAR_MAX))
