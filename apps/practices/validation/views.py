"""The base class of the API's views, which refuses everything that a view does not declare.

``query_parsers`` maps a method to the function that parses its query string; HEAD uses that of GET, and a method without a parser
accepts no parameters. The query string is parsed after authentication, permissions and limits, before the handler runs::

    class NoteList(StrictView):
        query_parsers = {"GET": NOTES.parse}

        def get(self, request: Request) -> JSONResponse:
            return JSONResponse(NOTES.read(self.query, note_list, **self.query.filters).body())
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.practices.mechanisms.responses import header_set
from apps.practices.validation.query import query_parameters

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class StrictView(APIView):  # without a docstring, which would describe the operations of each view in OpenAPI
    query_parsers: ClassVar[Mapping[str, Callable[[Request], Any]]] = {}
    query: Any = None  # the result of the parser
    cached: ClassVar[Any] = None  # a CachedResponse

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "get" in vars(cls) and "head" not in vars(cls):
            # Django sets it in each instance, which then refers to itself (decision 0135).
            cls.head = cls.get  # type: ignore[attr-defined]

    @property
    def allowed_methods(self) -> list[str]:
        """The methods in the Allow header, found once for each class."""
        key = (type(self), *self.http_method_names)
        if key not in _allowed_methods:
            _allowed_methods[key] = super().allowed_methods
        return _allowed_methods[key]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        wrapped = super().initialize_request(request, *args, **kwargs)
        wrapped.method = request.method  # which DRF would look up in the Django request, by an exception each time
        return wrapped

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        allow = self.headers.pop("Allow", None)
        response = super().finalize_response(request, response, *args, **kwargs)
        request.parser_context.clear()  # it refers to the request, which refers to it
        if allow is not None:
            header_set(response, "Allow", allow)
        return response

    def perform_authentication(self, request: Request) -> None:
        # What the property ``user`` calls, after looking in two objects for a user that there cannot be yet.
        request._authenticate()  # type: ignore[attr-defined]  # private: docs/private-api.md

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Parse the query string; raise ``ValidationProblem`` (400) for what the method's parser does not accept."""
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method in _METHODS and hasattr(self, method.lower()):
            if self.cached is not None and method == "GET" and self.cached.attach(self, request):
                return  # what is cached was the response to a valid query string
            parse = self.query_parsers.get(method, _no_parameters)
            self.query = parse(request)

    def body(
        self, serializer: type[serializers.BaseSerializer[Any]], instance: Any = None, *, partial: bool = False
    ) -> dict[str, Any]:
        """Return the body as validated by ``serializer``; raise DRF's ``ValidationError`` (400).

        The caller is in the serializer's context as ``viewer``.
        """
        bound = serializer(instance, data=self.request.data, partial=partial, context={"viewer": self.request.user})
        bound.is_valid(raise_exception=True)
        return bound.validated_data

    @cached_property
    def now(self) -> datetime:
        """Return the time of the request, the same throughout its handler."""
        return timezone.now()


def _no_parameters(request: Request) -> None:
    query_parameters(request, {})


_allowed_methods: dict[tuple[object, ...], list[str]] = {}
