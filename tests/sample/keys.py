"""A write whose answer shows a secret, once: it is not to be stored for a repetition."""

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
    """A key as it is shown once."""

    key = serializers.CharField()


class KeyList(StrictView):
    """Making a key."""

    permission_classes = [IsAuthenticated]
    unrepeatable = "It shows the key, which is stored nowhere."

    @extend_schema(
        operation_id="sample_keys_create",
        request=None,
        responses={201: SampleKeySerializer, **problems(400, 401, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        effect = Effect.objects.create(job_id=uuid7())
        headers = {"Location": f"{request.path}/{effect.job_id}", "Cache-Control": "no-store"}
        return Response({"key": token_urlsafe()}, status=status.HTTP_201_CREATED, headers=headers)
