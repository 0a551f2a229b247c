"""Every route of the service: the API below ``/api/v1/``, pages and machines' endpoints beside it."""

from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from apps.operations import pages
from apps.practices.throttling.forms import limited_form

# SCAFFOLD: while modules land
_root = Path(__file__).resolve().parent.parent


def _landed(prefix: str, module: str) -> list[URLResolver]:
    return [path(prefix, include(module))] if (_root / (module.replace(".", "/") + ".py")).exists() else []


urlpatterns: list[URLPattern | URLResolver] = [
    *_landed("api/v1/", "apps.accounts.urls"),
    *_landed("api/v1/", "apps.jobs.urls"),
    # Your apps:
    *_landed("api/v1/", "apps.articles.urls"),
    path("api/schema", pages.schema, name="schema"),
    path("api/docs", pages.docs, name="docs"),
    *_landed("", "apps.practices.errors.urls"),
    *_landed("", "apps.operations.urls"),
    path("admin/login/", limited_form("admin-login")(admin.site.login)),
    path("admin/", admin.site.urls),
]

if settings.ENVIRONMENT_NAME == "dev":
    urlpatterns.append(path("", pages.welcome, name="welcome"))

handler400 = "apps.practices.errors.views.bad_request"
handler403 = "apps.practices.errors.views.permission_denied"
handler404 = "apps.practices.errors.views.not_found"
handler500 = "apps.practices.errors.views.server_error"

admin.site.site_header = admin.site.site_title = settings.SITE_NAME
