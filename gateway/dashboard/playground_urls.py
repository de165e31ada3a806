"""The addresses that the playground's form and script speak to."""

from django.urls import path

from gateway.dashboard import compare, playground

app_name = "playground"
urlpatterns = [
    path("playground/compare", compare.compare, name="compare"),
    path("playground/compare/run", compare.compare_run, name="compare_run"),
    path("playground/jobs/<int:generation_id>", playground.job, name="job"),
    path("playground/jobs/<int:generation_id>/cancel", playground.cancel, name="cancel"),
    path("playground/run/<str:provider>/<path:slug>", playground.run, name="run"),
]
