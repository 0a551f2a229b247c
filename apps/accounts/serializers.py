"""The shapes of accounts and sign-ins, in and out."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from rest_framework import serializers

from apps.accounts.models import Session, Transport, User
from apps.accounts.selectors.users import USER_FIELDS
from apps.accounts.validators import PasswordLengthValidator
from apps.practices.validation.fields import EmailAddressField, PlainTextField
from apps.practices.validation.serializers import StrictSerializer

NAME_LENGTH = 150
LINK_LENGTH = 200  # of the token in a mailed link; ours have 43
TOKEN_LENGTH = 16_384  # a larger body is invalid; the token itself is refused from 2 KiB on


class PasswordField(serializers.CharField):
    """A password exactly as it was typed; never shown. Its spelling is the hasher's business."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, write_only=True, style={"input_type": "password"}, **options)
        self.validators.append(PasswordLengthValidator())


class NewPasswordField(PasswordField):
    """A password that somebody chooses; the validators look at it where the account's other values are known."""

    def __init__(self, **options: Any) -> None:
        text = "12 characters or more, not made of a common one, not like the e-mail or name."
        super().__init__(help_text=text, **options)

    @property
    def json_schema(self) -> dict[str, Any]:
        """Return what the document of the API can say of it: a pattern, since drf-spectacular writes its own ``minLength``."""
        validators: Any = settings.AUTH_PASSWORD_VALIDATORS  # django-stubs knows no more than "tuple of dict of str"
        shortest = max(one.get("OPTIONS", {}).get("min_length", 1) for one in validators)
        return {"pattern": rf"^[^\u0000]{{{shortest},}}$"}


class CSRFTokenField(serializers.CharField):
    """The CSRF token of a sign-in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(help_text="For the header X-CSRFToken, as long as the sign-in stands.", **options)


class UserSerializer(serializers.ModelSerializer[User]):
    """An account."""

    class Meta:
        model = User
        fields = USER_FIELDS
        read_only_fields = USER_FIELDS


class RegisterSerializer(StrictSerializer):
    """A new account."""

    email = EmailAddressField()
    password = NewPasswordField()
    name = PlainTextField(max_length=NAME_LENGTH, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            validate_password(attrs["password"], user=User(email=attrs["email"], name=attrs["name"]))
        except ValidationError as error:
            details = [serializers.ErrorDetail(each.messages[0], code=each.code) for each in error.error_list]
            raise serializers.ValidationError({"password": details}) from error
        return attrs


class LoginSerializer(StrictSerializer):
    """Credentials, and how the tokens are to travel."""

    email = EmailAddressField()
    password = PasswordField()
    transport = serializers.ChoiceField(
        choices=[Transport.BEARER.value, Transport.COOKIE.value],
        default=Transport.BEARER.value,
        help_text="bearer: tokens in the body. cookie: in cookies that scripts cannot read, for pages of a listed origin.",
    )


class RefreshSerializer(StrictSerializer):
    """The refresh token of a sign-in, which works once; left out where it is in a cookie."""

    refresh = serializers.CharField(max_length=TOKEN_LENGTH, required=False, write_only=True)


class EmailSerializer(StrictSerializer):
    """Where to send a mail."""

    email = EmailAddressField()


class LinkSerializer(StrictSerializer):
    """What a mailed link holds."""

    token = serializers.CharField(
        max_length=LINK_LENGTH, write_only=True, help_text="What stands behind # in the link."
    )


class PasswordChangeSerializer(StrictSerializer):
    """A new password, by who knows the present one."""

    current_password = PasswordField()
    new_password = NewPasswordField()


class PasswordResetSerializer(LinkSerializer):
    """A new password, by who got the mail."""

    new_password = NewPasswordField()


class TokenPairSerializer(serializers.Serializer[Any]):
    """The tokens of a sign-in."""

    access = serializers.CharField(help_text="For the Authorization header, until expires_in has passed.")
    refresh = serializers.CharField(help_text="For auth/refresh, once.")
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")
    session = serializers.UUIDField(help_text="The sign-in that the tokens belong to.")


class CookiePairSerializer(serializers.Serializer[Any]):
    """A sign-in whose tokens are in cookies."""

    csrf_token = CSRFTokenField()
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access cookie lives.")
    session = serializers.UUIDField(help_text="The sign-in that the tokens belong to.")


class CSRFTokenSerializer(serializers.Serializer[Any]):
    """What proves that a page of ours asks."""

    csrf_token = CSRFTokenField()


class SessionSerializer(serializers.ModelSerializer[Session]):
    """A sign-in that stands."""

    current = serializers.BooleanField(help_text="Whether it is the one that asks.")

    class Meta:
        model = Session
        fields = ("id", "device", "address", "created_at", "last_used_at", "current")
        read_only_fields = fields
        extra_kwargs: ClassVar[dict[str, dict[str, str]]] = {
            "device": {"help_text": "The User-Agent that used it last."},
            "address": {"help_text": "The address it was last used from; null when it is not known."},
        }


class MeSerializer(StrictSerializer):
    """What people may change about their own account."""

    name = PlainTextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    email = EmailAddressField(
        required=False, help_text="Becomes the account's once the link that is mailed to it is followed."
    )
    current_password = PasswordField(required=False, help_text="Needed with email.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "email" in attrs and "current_password" not in attrs:
            detail = serializers.ErrorDetail("Another address needs the account's present password.", code="required")
            raise serializers.ValidationError({"current_password": [detail]})
        return attrs


class AccountDeleteSerializer(StrictSerializer):
    """What the end of an account needs."""

    password = PasswordField()
