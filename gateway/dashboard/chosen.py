"""Forms over many calls: which were chosen, and the page that one comes back to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

CHOSEN_MAX = 100


def chosen_ids(values: QueryDict) -> list[int]:
    """The ids under `id`, each once, at most CHOSEN_MAX."""
    texts = dict.fromkeys(values.getlist("id")[:CHOSEN_MAX])
    return [int(text) for text in texts if text.isdecimal() and len(text) < 19]


def back_to(request: HttpRequest) -> HttpResponse:
    """To the page of the account that the form stood in (`back`), else to the gallery."""
    back = request.POST.get("back", "")
    own = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(reverse("dashboard:home"))
    return redirect(back if own else "dashboard:gallery")
