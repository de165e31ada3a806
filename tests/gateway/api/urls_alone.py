from django.urls import include, path
from gateway.urls import urlpatterns as site
urlpatterns = [path("api/", include("gateway.api.routes")), *site]
