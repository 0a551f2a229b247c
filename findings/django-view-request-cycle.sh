#!/bin/sh
# Django 5.2.19 and Django REST framework 3.18.3: a class-based view and its request stay in memory after the response until
# the cyclic garbage collector runs. View.setup() gives a view that has get() and no head() the bound method self.get as
# self.head, a circle, and the view holds the request. A head() of its own cures Django's view but not an APIView, whose
# request keeps the view and itself in parser_context. A function's request is freed at once. With the collector off, or
# tuned to run rarely, memory grows with each request.
#
# Output seen, 2026-11-30:
#   function: request freed
#   View: view and request kept
#   View with head(): view and request freed
#   APIView: view and request kept
#   APIView with head(): view and request kept
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 djangorestframework==3.18.3
"$folder/venv/bin/python" - <<'PYTHON'
import gc
import sys
import weakref

import django
from django.conf import settings

settings.configure(REST_FRAMEWORK={"UNAUTHENTICATED_USER": None})
django.setup()
from django.http import HttpResponse
from django.test import RequestFactory
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView

seen = []


def function(request):
    seen.append(weakref.ref(request))
    return HttpResponse()


class Plain(View):
    def get(self, request):
        seen.extend((weakref.ref(self), weakref.ref(request)))
        return HttpResponse()


class PlainHead(Plain):
    def head(self, request):
        return HttpResponse()


class Api(APIView):
    def get(self, request):
        seen.extend((weakref.ref(self), weakref.ref(request._request)))
        return Response({})


class ApiHead(Api):
    def head(self, request):
        return Response({})


def kept(view):
    """Return whether what the view has seen outlives its response while the collector is off."""
    seen.clear()
    response = view(RequestFactory().get("/"))
    if hasattr(response, "render"):
        response.render()
    response.close()
    del response
    alive = {reference() is not None for reference in seen}
    gc.collect()
    assert all(reference() is None for reference in seen), "The collector did not free them either."
    assert len(alive) == 1, "The view and the request differ."
    return alive.pop()


gc.collect()
gc.disable()
answers = [kept(function)]
print(f"function: request {'kept' if answers[0] else 'freed'}")
for name, view in (("View", Plain), ("View with head()", PlainHead), ("APIView", Api), ("APIView with head()", ApiHead)):
    answers.append(kept(view.as_view()))
    print(f"{name}: view and request {'kept' if answers[-1] else 'freed'}")
sys.exit(0 if answers == [False, True, False, True, True] else "Views and requests are freed in another way now.")
PYTHON
