"""Verify an e-mail address by a mailed link."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.serializers import EmailSerializer, LinkSerializer
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.emails import email_verification_request, email_verify
from apps.accounts.services.links import LinkRefused
from apps.accounts.services.users import EmailTaken
from apps.accounts.views.base import NO_STORE, CredentialView
from apps.practices.errors.schema import problems

MAILED = OpenApiResponse(description="Accepted. The response is the same whether or not a mail is sent.")


class EmailVerify(CredentialView):
    @extend_schema(
        operation_id="auth_email_verify",
        summary="Verify an address with a mailed link",
        description=(
            "Marks the account's address as verified. A link that was mailed for a change of address makes the new address the "
            "account's, and the old one gets a mail."
        ),
        auth=[],
        request=LinkSerializer,
        responses={
            204: OpenApiResponse(description="The account has this address, and it is verified."),
            **problems(413, 415, LinkRefused, EmailTaken),
        },
    )
    def post(self, request: Request) -> Response:
        email_verify(**self.body(LinkSerializer), origin=self.origin, now=self.now)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)


class EmailVerifyRequest(CredentialView):
    @extend_schema(
        operation_id="auth_email_verify_request",
        summary="Request a new link to verify an address",
        auth=[],
        request=EmailSerializer,
        responses={202: MAILED, **problems(413, 415, TooManyAttempts)},
    )
    def post(self, request: Request) -> Response:
        email_verification_request(**self.body(EmailSerializer))
        return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)
