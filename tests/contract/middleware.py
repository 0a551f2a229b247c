"""Every answer that any test sees is held against the OpenAPI document.

In pytest's own process what an answer breaks fails the test that asked. In a fleet it is written to the file that
``CONTRACT_REPORT`` names, and fails whoever started the fleet. Without that name a fleet does not have this middleware:
proofs and benchmarks measure the service alone.
"""

import os
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tests.contract.document import contract_of

_REPORT = os.environ.get("CONTRACT_REPORT", "")
_DOCUMENTED = ("project.urls", "tests.sample.urls", "tests.contract.urls")
seen: dict[str, int] = {"answers": 0}
broken: list[str] = []


class ContractMiddleware:
    """Outermost, so that it sees what a client sees."""

    is_replayable = True  # what is replayed was seen here the first time

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # Tests with views of their own, which nobody has documented, name a URL configuration of their own.
        if request.path_info.startswith("/api/") and settings.ROOT_URLCONF in _DOCUMENTED:
            found = contract_of(settings.ROOT_URLCONF).violations(
                method=request.method or "",
                path=request.path_info,
                status=response.status_code,
                headers={name.lower(): value for name, value in response.items()},
                body=None if response.streaming else response.content,  # type: ignore[attr-defined]  # not streaming
            )
            seen["answers"] += 1
            _note([f"{request.method} {request.path_info}: {one}" for one in found])
        return response


def _note(found: list[str]) -> None:
    if _REPORT and settings.SETTINGS_MODULE != "settings.test":
        if found:
            with Path(_REPORT).open("a") as report:  # appended whole lines, by several processes
                report.write("".join(f"{line}\n" for line in found))
    else:
        broken.extend(found)
