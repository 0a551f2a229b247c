"""Every route of the service: the API below ``/api/v1/``, pages and machines' endpoints beside it."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

API_APPS = ("apps.accounts", "apps.jobs", "apps.articles")

urlpatterns: list[URLPattern | URLResolver] = [
    *(path("api/v1/", include(f"{app}.urls")) for app in API_APPS if find_spec(f"{app}.urls")),
    path("admin/", admin.site.urls),
]
