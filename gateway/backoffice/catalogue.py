"""Models with their margins, publishing them, and prices as dated versions with what they would have earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.db import IntegrityError
from django.db.models import Q, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.models import MONEY, Price
from billing.pricing import price_in_force
from billing.usage_days import house_folded_through
from gateway.backoffice import actions
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.figures import fleet_cost_microusd_per_hour, gpu_cost_microusd, spans
from gateway.backoffice.forms import PriceForm, ReasonForm
from gateway.backoffice.navigation import console_render
from gateway.backoffice.sums import Parts, grouped, usage_parts
from gateway.templatetags.units import price as price_text
from inference.models import ImageModel

PER_PAGE = 50
MEASURES = {name: Sum(name) for name in ("images", "amount_microusd", "gpu_time_ms")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """A model beside what thirty days of it brought and cost. Amounts are micro-dollars."""

    model: ImageModel
    price_microusd: int | None
    images: int = 0
    charged_microusd: int = 0
    gpu_time_ms: int = 0
    gpu_microusd: int = 0

    @property
    def margin_microusd(self) -> int:
        return self.charged_microusd - self.gpu_microusd

    @property
    def cost_per_image_microusd(self) -> int | None:
        return self.gpu_microusd // self.images if self.images else None


def month_parts(now: datetime) -> Parts:
    """The roll-up of thirty days, today with them."""
    return usage_parts(spans(now)[-1].start, now, through=house_folded_through())


def margins(now: datetime, *, search: str = "", page: int = 1) -> tuple[list[Margin], bool]:
    """A page of the models that contain `search` in their id or name, what was charged most first; whether there are
    more."""
    used, per_hour = grouped(month_parts(now), "model_id", MEASURES), fleet_cost_microusd_per_hour()
    fitting = ImageModel.objects.filter(Q(model_id__icontains=search) | Q(name__icontains=search))
    nothing = dict.fromkeys(MEASURES, 0)
    ordered = sorted(
        fitting.values_list("model_id", flat=True), key=lambda one: (-used.get(one, nothing)["amount_microusd"], one)
    )
    shown = ordered[(page - 1) * PER_PAGE : page * PER_PAGE]
    models = {model.model_id: model for model in ImageModel.objects.filter(model_id__in=shown)}
    codes = {model.price_code for model in models.values()}
    prices = {code: price_in_force(price_code=code, account_id=None, now=now) for code in codes}
    rows = [_margin(models[one], prices[models[one].price_code], used.get(one), per_hour) for one in shown]
    return rows, len(ordered) > page * PER_PAGE


def _margin(model: ImageModel, price_microusd: int | None, row: dict[str, int] | None, per_hour: int) -> Margin:
    if row is None:
        return Margin(model=model, price_microusd=price_microusd)
    return Margin(
        model=model,
        price_microusd=price_microusd,
        images=row["images"],
        charged_microusd=row["amount_microusd"],
        gpu_time_ms=row["gpu_time_ms"],
        gpu_microusd=gpu_cost_microusd(row["gpu_time_ms"], per_hour_microusd=per_hour),
    )


@staff_page(section="models", needs=Permission.LOOK)
@require_safe
def models(request: StaffRequest) -> HttpResponse:
    now, search = timezone.now(), request.GET.get("q", "").strip()[:120]
    number = request.GET.get("page", "")
    page = int(number) if number.isdecimal() and 0 < len(number) < 6 else 1
    rows, more = margins(now, search=search, page=max(page, 1))
    versions = Price.objects.filter(account=None).order_by("price_code", "-effective_from").select_related("set_by")
    context = {
        "margins": rows,
        "search": search,
        "next_page": max(page, 1) + 1 if more else None,
        "versions": versions,
        "per_hour": fleet_cost_microusd_per_hour(),
        "now": now,
    }
    return console_render(request, "backoffice/models.html", context)


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_POST
def model_publish(request: StaffRequest, model_id: str) -> HttpResponse:
    model = get_object_or_404(ImageModel, model_id=model_id)
    published, form = request.POST.get("published") == "yes", ReasonForm(request.POST)
    if form.is_valid():
        actions.model_publish(
            model=model,
            published=published,
            reason=form.cleaned_data["reason"],
            by=request.user,
            now=timezone.now(),
        )
        messages.success(request, f"{model.model_id} is {'published' if published else 'no longer published'}.")
    else:
        messages.error(request, "Nothing was changed: say why, in three letters or more.")
    return redirect("backoffice:models")


@dataclass(frozen=True, slots=True)
class Preview:
    """The last thirty days under another price: pictures paid from funds by accounts without a price of their own."""

    images: int
    charged_microusd: int
    would_microusd: int

    @property
    def difference_microusd(self) -> int:
        return self.would_microusd - self.charged_microusd


def preview(*, price_code: str, amount_microusd: int, now: datetime) -> Preview:
    own = set(Price.objects.filter(price_code=price_code).exclude(account=None).values_list("account_id", flat=True))
    ids = ImageModel.objects.filter(price_code=price_code).values_list("model_id", flat=True)
    paid = month_parts(now).filter(model_id__in=list(ids), source__in=MONEY)
    counted = [sums for account_id, sums in grouped(paid, "account_id", MEASURES).items() if account_id not in own]
    images = sum(sums["images"] for sums in counted)
    return Preview(images, sum(sums["amount_microusd"] for sums in counted), images * amount_microusd)


@staff_page(section="models", needs=Permission.PRICES)
@require_http_methods(["GET", "HEAD", "POST"])
def price(request: StaffRequest, price_code: str) -> HttpResponse:
    """First what it would have earned, then, with the button of that page, the new version."""
    now = timezone.now()
    versions = Price.objects.filter(price_code=price_code, account=None).order_by("-effective_from")
    if not versions.exists() and not ImageModel.objects.filter(price_code=price_code).exists():
        raise Http404
    form = PriceForm(request.POST or None, now=now)
    shown = None
    if request.method == "POST":
        setting = request.POST.get("act") == "set"
        if setting and form.is_valid() and _set(request, price_code, form, now):
            return redirect("backoffice:models")
        if not setting:
            # Looking needs no reason.
            form.errors.pop("reason", None)
        if "amount" in form.cleaned_data:
            shown = preview(price_code=price_code, amount_microusd=form.cleaned_data["amount"], now=now)
    context = {
        "price_code": price_code,
        "current_microusd": price_in_force(price_code=price_code, account_id=None, now=now),
        "versions": versions.select_related("set_by"),
        "form": form,
        "preview": shown,
    }
    return console_render(request, "backoffice/price.html", context)


def _set(request: StaffRequest, price_code: str, form: PriceForm, now: datetime) -> bool:
    """False when this code has a version of that very moment already; the form says so."""
    data = form.cleaned_data
    before = price_in_force(price_code=price_code, account_id=None, now=now)
    if Price.objects.filter(price_code=price_code, account=None, effective_from=data["effective_from"]).exists():
        form.add_error("effective_from", "There is a version of that moment already.")
        return False
    try:
        actions.price_change(
            price_code=price_code,
            amount_microusd=data["amount"],
            before_microusd=before,
            effective_from=data["effective_from"],
            reason=data["reason"],
            by=request.user,
            now=now,
        )
    except IntegrityError:
        form.add_error("effective_from", "There is a version of that moment already.")
        return False
    messages.success(request, f"{price_code} costs {price_text(data['amount'])} an image from then on.")
    return True
