"""Stopping mails from the link in one of them: without a log-in, and by the mail program's own button."""

from __future__ import annotations

from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.models import User
from gateway.notices import UNSUBSCRIBE_SALT


@csrf_exempt  # the mail program posts from elsewhere; the signed token is the proof
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Looking changes nothing, since mail scanners open every link; the button and the one-click POST do."""
    try:
        pk = signing.loads(token, salt=UNSUBSCRIBE_SALT)
    except signing.BadSignature:
        raise Http404 from None
    if request.method == "POST":
        User.objects.filter(pk=pk).update(notices=False)
    return render(request, "dashboard/unsubscribe.html", {"done": request.method == "POST"})
