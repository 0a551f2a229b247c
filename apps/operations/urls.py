"""Operational endpoints, at the root. ``HealthMiddleware`` answers the first two before they are resolved here."""

from django.contrib import admin
from django.urls import path

from apps.operations import views
from apps.operations.dashboard import views as dashboard
from apps.operations.dashboard.runbook import runbook

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
    path("admin/operations/", admin.site.admin_view(dashboard.operations), name=dashboard.ROUTE),
    path("admin/operations/runbook", admin.site.admin_view(runbook), name="runbook"),
    path("admin/operations/queues/<slug:queue>", admin.site.admin_view(dashboard.queue_switch), name="queue-switch"),
]
