"""The service's own addresses and an empty view beside them, on the same server, as the measure of everything else."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from gateway.urls import urlpatterns as service_urls


@csrf_exempt
def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("api/empty", empty), *service_urls]
