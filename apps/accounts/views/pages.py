"""The pages that mailed links lead to, unless ACCOUNT_URL names a front end."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from apps.accounts.models import LinkPurpose

# The route that a page's button sends the link's token to.
ACTIONS = {
    LinkPurpose.VERIFY_EMAIL: "auth-email-verify",
    LinkPurpose.RESET_PASSWORD: "auth-password-reset-confirm",
    LinkPurpose.CHANGE_EMAIL: "auth-email-verify",
}
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}


def _page(purpose: LinkPurpose) -> Callable[[HttpRequest], HttpResponse]:
    @require_safe
    def page(request: HttpRequest) -> HttpResponse:
        values = {"site_name": settings.SITE_NAME, "action": reverse(ACTIONS[purpose])}
        response = render(request, f"account/{purpose.value}.html", values)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return page


urlpatterns = [path(purpose.value, _page(purpose), name=f"account-{purpose.value}") for purpose in LinkPurpose]
