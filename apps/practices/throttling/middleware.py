"""ThrottlingMiddleware: the flood limit for every request, the anonymous limit for API requests without a verified token."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import is_api
from apps.practices.throttling.address import address_bucket
from apps.practices.throttling.anonymous import anon_charge, anon_mark, carries_credentials, is_verified
from apps.practices.throttling.headers import limits_to_headers, note, noted, refusal
from apps.practices.throttling.limiter import charge, take


class ThrottlingMiddleware:
    """One round trip to Redis on the way in.

    Without credentials "anon" is charged here, together with "address". With credentials it is charged by the DRF throttles,
    after authentication has failed to verify them, or here on the way out when the answer is 401.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        charges = [charge("address", address_bucket(request))]
        if is_api(request) and not carries_credentials(request):
            charges.append(anon_charge(request))
            anon_mark(request)
        allowed, verdicts = take([one for one in charges if one])
        note(request, verdicts)
        response = self.get_response(request) if allowed else refusal(request, verdicts)
        if allowed and response.status_code == 401 and is_api(request):
            response = self._charge_failure(request, response)
        if is_api(request):
            limits_to_headers(response, noted(request))
        return response

    def _charge_failure(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Whoever tries tokens is anonymous, and gets 429 in place of 401 once that limit is used up."""
        anon = anon_charge(request)
        if anon is None or is_verified(request):
            return response
        allowed, verdicts = take([anon])
        note(request, verdicts)
        return response if allowed else refusal(request, verdicts)
