"""Every address of the service, by part."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from gateway import health
from gateway.api.routes import urlpatterns as api_urls
from gateway.leaks import leaked_keys
from gateway.media import media
from gateway.stripe_webhook import stripe_webhook

# The admin's own log-in knows no second factor and no limits: allauth's is the only door.
admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns: list[URLPattern | URLResolver] = [
    *api_urls,  # first, and without a resolver of its own: each call looks for it
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("media/<path:key>", media),
    path("stripe/webhook", stripe_webhook),
    path("security/leaked-keys", leaked_keys, name="leaked_keys"),
    path("accounts/", include("gateway.site.entrance")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("", include("gateway.backoffice.urls")),
    path("", include("gateway.dashboard.urls")),
    path("", include("gateway.dashboard.playground_urls")),
    path("", include("gateway.site.urls")),
]
handler400 = "gateway.site.errors.bad_request"
handler403 = "gateway.site.errors.forbidden"
handler404 = "gateway.site.errors.not_found"
# allauth asks for this one; without it, who tries too often gets its bare page.
handler429 = "gateway.site.errors.too_many"
handler500 = "gateway.site.errors.broken"
