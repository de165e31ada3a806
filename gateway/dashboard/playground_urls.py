"""The addresses that the playground's form and script speak to."""

from django.urls import path

from gateway.dashboard import playground

app_name = "playground"
urlpatterns = [
    path("playground/jobs/<int:generation_id>", playground.job, name="job"),
    path("playground/jobs/<int:generation_id>/cancel", playground.cancel, name="cancel"),
    path("playground/run/<str:provider>/<path:slug>", playground.run, name="run"),
]
