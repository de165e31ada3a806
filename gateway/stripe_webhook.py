"""The address that Stripe posts events to: verified, put into the inbox, answered at once. It processes nothing.

Without a secret there is no such address: nobody can sign, so nobody can be believed.
"""

from __future__ import annotations

import contextlib
import logging

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from kombu.exceptions import OperationalError

from billing import stripe_client
from billing.errors import PaymentsNotConfigured
from billing.stripe_events import event_receive
from billing.tasks import stripe_events_process

BODY_BYTES_MAX = 512 * 1024

logger = logging.getLogger(__name__)


@csrf_exempt
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    try:
        config = stripe_client.current_config()
        if not config.webhook_secrets:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        signature = request.headers.get("Stripe-Signature")
        if int(request.headers.get("Content-Length") or 0) > BODY_BYTES_MAX:
            return HttpResponse(status=413)
        event = stripe_client.webhook_construct(
            body=request.body if signature else b"",
            signature=signature,
            secrets=config.webhook_secrets,
            livemode=config.livemode,
            now_s=int(now.timestamp()),
        )
    except PaymentsNotConfigured:
        raise Http404 from None
    except stripe_client.WebhookRejected as rejected:
        logger.warning("A Stripe webhook was rejected: %s", rejected.reason)
        return HttpResponse(status=400)
    if event_receive(event=event, body=request.body.decode(), now=now):
        with contextlib.suppress(OperationalError):  # the sweep finds it within seconds
            stripe_events_process.delay()
    return HttpResponse(status=200)
