"""The admin's doors: who comes in there is counted, listed and thrown out as anybody who signs in to the API."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.accounts.authentication import origin_of
from apps.accounts.forms import OwnPasswordForm, SignInForm
from apps.accounts.models import User
from apps.accounts.page_sessions import page_family, page_sign_in, page_sign_out

FOUND = 302


class OwnPassword(PasswordChangeView):
    """Another password for oneself: every sign-in ends, and this browser gets a new one."""

    form_class = OwnPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "origin": origin_of(self.request)}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        response = super().form_valid(form)
        page_sign_in(self.request, user=form.user)
        return response


class Site(AdminSite):
    """Django's admin, whose sessions stand for sign-ins (`page_sessions`)."""

    login_form = SignInForm

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        before = page_family(request)
        response = super().login(request, extra_context)
        if request.method == "POST" and response.status_code == FOUND:  # the form has let them in
            page_sign_in(request, user=cast("User", request.user), replaces=before)
        return response

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
