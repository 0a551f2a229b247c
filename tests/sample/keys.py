"""A write whose response shows a secret once, and so must not be stored under an Idempotency-Key."""

from secrets import token_urlsafe

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.practices.database.keys import uuid7
from apps.practices.errors.schema import problems
from apps.practices.validation.views import StrictView
from tests.sample.models import Effect


class SampleKeySerializer(serializers.Serializer):
    """A new key, which is shown once."""

    key = serializers.CharField()


class KeyList(StrictView):
    """Create a key."""

    permission_classes = [IsAuthenticated]
    unrepeatable = "The response shows the key, which is not stored."

    @extend_schema(
        operation_id="sample_keys_create",
        request=None,
        responses={201: SampleKeySerializer, **problems(400, 401, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        effect = Effect.objects.create(job_id=uuid7())
        headers = {"Location": f"{request.path}/{effect.job_id}", "Cache-Control": "no-store"}
        return Response({"key": token_urlsafe()}, status=status.HTTP_201_CREATED, headers=headers)
