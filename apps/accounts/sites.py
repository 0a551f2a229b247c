"""The admin site. Signing in to it starts a session that is counted, listed and ended like those of the API."""

import logging
from functools import update_wrapper
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import FieldError, ValidationError
from django.db import DataError, ProgrammingError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.accounts.authentication import origin_of
from apps.accounts.forms import OwnPasswordForm, SignInForm
from apps.accounts.models import User
from apps.accounts.page_sessions import page_session_id, page_sign_in, page_sign_out
from apps.accounts.transports import device_set

logger = logging.getLogger(__name__)
FOUND = 302
# What Django (5.2, ChangeList.get_queryset and its paginator) and PostgreSQL raise for an invalid look-up, such as
# ?created_at__year=99999999, ?id__range=1 or ?title__regex=(. Django handles some of them itself, with the redirect below.
LOOKUP_ERRORS = (
    ArithmeticError,
    DataError,
    FieldError,
    LookupError,
    ProgrammingError,
    TypeError,
    ValidationError,
    ValueError,
)


class OwnPassword(PasswordChangeView):
    """A new password for oneself: every session ends, and this browser gets a new one."""

    form_class = OwnPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "origin": origin_of(self.request)}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        response = super().form_valid(form)
        page_sign_in(self.request, user=form.user)
        return response


class Site(AdminSite):
    """Django's admin, with the sessions of `page_sessions`."""

    login_form = SignInForm

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        before = page_session_id(request)
        response = super().login(request, extra_context)
        if request.method == "POST" and response.status_code == FOUND:  # the form accepted the password
            user = cast("User", request.user)
            page_sign_in(request, user=user, replaces=before)
            device_set(response, email=user.email, now=timezone.now())
        return response

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Redirect a list with an invalid look-up to the plain list, as Django does for most invalid look-ups."""

        def reading(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
            match = request.resolver_match
            is_list = request.method == "GET" and match is not None and str(match.url_name).endswith("_changelist")
            if not is_list or not request.GET or ERROR_FLAG in request.GET:
                return view(request, *args, **options)
            try:
                response = view(request, *args, **options)
                # Rows and the counts of filters are read while the page is rendered.
                return response.render() if isinstance(response, TemplateResponse) else response
            except LOOKUP_ERRORS as error:
                logger.info("admin_lookup_refused", extra={"path": request.path, "reason": type(error).__name__})
                return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")

        return super().admin_view(update_wrapper(reading, view), cacheable)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if request.method == "POST":
            page_sign_out(request)
        return super().logout(request, extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        request.current_app = self.name  # read by {% url %}
        view = OwnPassword.as_view(
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
            template_name=self.password_change_template or "registration/password_change_form.html",
        )
        return cast("TemplateResponse", view(request))
