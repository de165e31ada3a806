"""The addresses of the public site. Every page answers with and without a slash at its end, without a redirect."""

from django.urls import path, re_path

from gateway.site import brand, docs, limits, model_pages, shared, views
from gateway.site.status_feed import StatusFeed

app_name = "site"
urlpatterns = [
    path("", views.home, name="home"),
    re_path(r"^pricing/?$", views.pricing, name="pricing"),
    path("pricing.md", views.pricing_markdown, name="pricing_markdown"),
    path("pricing.json", views.pricing_json, name="pricing_json"),
    re_path(r"^limits/?$", limits.limits, name="limits"),
    re_path(r"^status/?$", views.status, name="status"),
    path("status.atom", StatusFeed(), name="status_feed"),
    path("status.json", views.status_json, name="status_json"),
    path("limits.md", limits.limits, name="limits_markdown"),
    path("status.md", views.status, name="status_markdown"),
    path("models.md", views.models, name="models_markdown"),
    re_path(r"^models/?$", views.models, name="models"),
    path("models/<str:provider>/<path:slug>/api.md", model_pages.model_markdown, name="model_markdown"),
    path("models/<str:provider>/<path:slug>/llms.txt", model_pages.model_markdown, name="model_llms"),
    path("models/<str:provider>/<path:slug>/schema.json", model_pages.model_schema, name="model_schema"),
    re_path(r"^models/(?P<provider>[^/]+)/(?P<slug>.+?)/?$", model_pages.model_page, name="model"),
    re_path(r"^docs/?$", docs.index, name="docs"),
    re_path(r"^docs/reference/?$", docs.reference, name="reference"),
    re_path(r"^docs/search/?$", docs.search, name="docs_search"),
    path("openapi.json", docs.openapi, name="openapi"),
    path("docs/<slug:slug>.md", docs.page_markdown, name="docs_markdown"),
    re_path(r"^docs/(?P<slug>[a-z0-9-]+)/?$", docs.page, name="docs_page"),
    path("s/<str:token>", shared.shared, name="shared"),
    path("s/<str:token>/<int:index>", shared.shared_picture, name="shared_picture"),
    path("theme", views.theme, name="theme"),
    path("language", views.language, name="language"),
    path("brand.css", brand.brand, name="brand"),
    path("llms.txt", views.llms, name="llms"),
    path("robots.txt", views.robots, name="robots"),
    path("favicon.ico", views.favicon, name="favicon"),
]
