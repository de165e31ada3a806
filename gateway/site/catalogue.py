"""The model catalogue as pages show it: search, facets, related models, and what each costs. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, QueryDict
from django.utils import timezone
from django.utils.translation import gettext

from gateway.site.examples import examples_of
from gateway.site.facets import FACETS, FAMILY_NAMES, SORTS, Facet, facets_of, narrowed, ordered, with_speed
from gateway.site.plans import price_rows
from gateway.site.schema import OPERATION_NAMES
from gateway.templatetags.units import price
from inference.models import ImageModel
from inference.selectors import workers_alive
from inference.storage import get_storage

PER_PAGE = 48
RELATED_MAX = 4
# Only what the list shows: a page of 48 must not drag descriptions of ten thousand.
_SHOWN = (
    "id",
    "model_id",
    "provider",
    "name",
    "family",
    "operations",
    "price_code",
    "thumbnail",
    "examples",
    "source",
    "licence",
    "deprecated_at",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model with what the tables beside the catalogue say of it."""

    model: ImageModel
    price_microusd: int | None
    warm: bool

    @property
    def thumbnail_url(self) -> str:
        """The operator's picture (an address, or a key of the picture store), else the first example. Empty: none."""
        name = self.model.thumbnail
        if not name:
            return next((example.url for example in examples_of(self.model)), "")
        return name if name.startswith(("/", "https://", "http://")) else get_storage().url(name)

    @property
    def deprecated(self) -> bool:
        since = self.model.deprecated_at
        return since is not None and since <= timezone.now()

    @property
    def family_name(self) -> str:
        return gettext(FAMILY_NAMES.get(self.model.family, self.model.family))

    @property
    def operation_names(self) -> list[str]:
        return [gettext(OPERATION_NAMES.get(name, name)) for name in self.model.operations]


@dataclass(frozen=True, slots=True)
class Query:
    """What a visitor looks for, read from the address, so that a view can be bookmarked."""

    text: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)
    sort: str = "name"
    warm: bool = False

    @classmethod
    def parse(cls, values: QueryDict) -> Query:
        sort = values.get("sort", "name")
        return cls(
            text=values.get("q", "").strip()[:100],
            chosen={key: text[:120] for key in FACETS if (text := values.get(key, ""))},
            sort=sort if sort in SORTS else "name",
            warm=bool(values.get("warm")),
        )


def found_by_text(query: Query) -> QuerySet[ImageModel]:
    models = with_speed(ImageModel.objects.filter(published=True))
    for word in query.text.split()[:6]:
        models = models.filter(Q(name__icontains=word) | Q(model_id__icontains=word) | Q(provider__icontains=word))
    return models.filter(model_id__in=resident_models()) if query.warm else models


def search(query: Query, *, now: datetime) -> QuerySet[ImageModel]:
    amounts = {row.code: row.amount_microusd for row in price_rows(now=now)} if query.sort == "price" else {}
    return ordered(narrowed(found_by_text(query), query.chosen), query.sort, amounts).only(*_SHOWN)


def facets(query: Query, *, now: datetime) -> list[Facet]:
    prices = {row.code: f"{price(row.amount_microusd)}, {row.name}" for row in price_rows(now=now)}
    return facets_of(found_by_text(query), query.chosen, prices)


def page_of(models: QuerySet[ImageModel], number: str | None) -> Page[ImageModel]:
    paginator = Paginator(models, PER_PAGE)
    page = paginator.get_page(number)
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    return page


def entries(models: list[ImageModel], *, now: datetime) -> list[Entry]:
    prices = {row.code: row.amount_microusd for row in price_rows(now=now)}
    warm = resident_models()
    return [Entry(model=m, price_microusd=prices.get(m.price_code), warm=m.model_id in warm) for m in models]


def resident_models() -> set[str]:
    """Models that some living worker holds in memory: they answer without loading."""
    found: set[str] = set()
    for resident in workers_alive().values_list("resident", flat=True):
        found.update(item["model_id"] if isinstance(item, dict) else item for item in resident)
    return found


def model_at(*, provider: str, slug: str) -> ImageModel:
    model = ImageModel.objects.filter(provider=provider, model_id=slug, published=True).first()
    if model is None:
        raise Http404
    return model


def related(model: ImageModel) -> list[ImageModel]:
    others = ImageModel.objects.filter(published=True, family=model.family).exclude(pk=model.pk).only(*_SHOWN)
    return list(others.order_by("model_id")[:RELATED_MAX])


def first_able(operation: str) -> ImageModel | None:
    """The model that pages lead to for this operation: the first by its id that can do it."""
    able = ImageModel.objects.filter(published=True, operations__icontains=f'"{operation}"')
    return able.only(*_SHOWN).order_by("model_id").first()
