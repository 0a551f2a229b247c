"""Operational endpoints, at the root. ``HealthMiddleware`` answers the first two before they are resolved here."""

from django.urls import path

from apps.operations import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
]
