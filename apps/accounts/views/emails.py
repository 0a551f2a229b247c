"""Proving an address: by the links that are mailed to it."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.serializers import EmailSerializer, LinkSerializer
from apps.accounts.services.attempts import AttemptPurpose, TooManyAttempts, attempt_begin
from apps.accounts.services.emails import email_verification_request, email_verify
from apps.accounts.services.links import LinkRefused
from apps.accounts.services.users import EmailTaken
from apps.accounts.views.base import NO_STORE, CredentialView
from apps.practices.errors.schema import problems
from apps.practices.throttling.throttles import LoginThrottle

MAILED = OpenApiResponse(description="Accepted: a mail goes out if the address calls for one. Always the same answer.")


class EmailVerify(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_email_verify",
        summary="Prove an address by a mailed link",
        description=(
            "Marks the address of an account as verified, or, with a link that was mailed for a change of address, makes the "
            "new one the account's; the old one is told."
        ),
        auth=[],
        request=LinkSerializer,
        responses={
            204: OpenApiResponse(description="The address is the account's, and verified."),
            **problems(413, 415, LinkRefused, EmailTaken),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(LinkSerializer)
        email_verify(**body, origin=self.origin, now=self.now)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)


class EmailVerifyRequest(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_email_verify_request",
        summary="Have a new link to verify an address mailed",
        auth=[],
        request=EmailSerializer,
        responses={202: MAILED, **problems(413, 415, TooManyAttempts)},
    )
    def post(self, request: Request) -> Response:
        body = self.body(EmailSerializer)
        attempt_begin(purpose=AttemptPurpose.MAIL, email=body["email"])
        email_verification_request(**body)
        return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)
