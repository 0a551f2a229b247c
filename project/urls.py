"""All routes of the service: the API below ``/api/v1/``, pages, and operational endpoints."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from apps.accounts.views import pages as account_pages
from apps.operations import pages
from apps.practices.throttling.forms import limited_form

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include("apps.accounts.urls")),
    path("api/v1/", include("apps.jobs.urls")),
    # Your apps:
    path("api/v1/", include("apps.articles.urls")),
    path("account/", include(account_pages)),
    path("api/schema", pages.schema, name="schema"),
    path("api/docs", pages.docs, name="docs"),
    path("", include("apps.practices.errors.urls")),
    path("", include("apps.operations.urls")),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}operations/icon.svg")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", limited_form("admin-login")(admin.site.login)),
    path("admin/", admin.site.urls),
]

is_dev = settings.ENVIRONMENT_NAME == "dev"
urlpatterns.append(path("", pages.welcome, name="welcome") if is_dev else path("", pages.home, name="home"))

handler400 = "apps.practices.errors.views.bad_request"
handler403 = "apps.practices.errors.views.permission_denied"
handler404 = "apps.practices.errors.views.not_found"
handler500 = "apps.practices.errors.views.server_error"

admin.site.site_header = admin.site.site_title = settings.SITE_NAME
