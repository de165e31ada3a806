"""Switching features off and on again while the service runs: with a reason, on record, within a second everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.forms import ReasonForm
from gateway.models import Feature, FeatureOff

# What happens while it is off.
WHILE_OFF = {
    Feature.SIGNUP: "Nobody new can sign up. Those who have an account log in as always.",
    Feature.CALLS: "Each new call is refused with 503 and calls_paused, and costs nothing. Calls in the queue go on.",
    Feature.PAYMENTS: "Nobody can begin to add funds or to subscribe. What was begun is completed, plans renew.",
    Feature.SHARING: "Shared links open for nobody, and no new ones are made. They work again afterwards.",
}


@dataclass(frozen=True, slots=True)
class Switch:
    """One feature; `off` says since when, by whom and why it is off."""

    feature: Feature
    off: FeatureOff | None

    @property
    def while_off(self) -> str:
        return WHILE_OFF[self.feature]


def switches() -> list[Switch]:
    off = {row.name: row for row in FeatureOff.objects.select_related("by")}
    return [Switch(feature, off.get(feature.value)) for feature in Feature]


@staff_page(section="settings", needs=Permission.HOUSE)
@require_POST
def feature_switch(request: StaffRequest, name: str, to: str) -> HttpResponse:
    if name not in Feature.values or to not in ("on", "off"):
        raise Http404
    feature, form = Feature(name), ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: say why, in three letters or more.")
    elif _switched(request, feature, to, form.cleaned_data["reason"]):
        messages.success(request, f"{feature.label}: {to}, everywhere within a second.")
    return redirect("backoffice:settings")


@transaction.atomic
def _switched(request: StaffRequest, feature: Feature, to: str, reason: str) -> bool:
    """False when it was so before: then nothing is recorded."""
    now = timezone.now()
    if to == "on":
        changed = FeatureOff.objects.filter(pk=feature.value).delete()[0] > 0
    else:
        fresh = {"since": now, "by": request.user, "reason": reason}
        _, changed = FeatureOff.objects.get_or_create(name=feature.value, defaults=fresh)
    if changed:
        staff_action_record(
            by=request.user,
            action=f"switch {to}",
            target=f"feature:{feature.value}",
            before={"on": to == "off"},
            after={"on": to == "on"},
            reason=reason,
            now=now,
        )
    return changed
