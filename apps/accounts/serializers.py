"""The shapes of accounts and sign-ins, in and out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from rest_framework import serializers

from apps.accounts.managers import email_normalised
from apps.accounts.models import User
from apps.accounts.selectors.users import USER_FIELDS
from apps.practices.validation.fields import PlainTextField
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.text import UncleanText, clean_plain

EMAIL_LENGTH = 254
NAME_LENGTH = 150
PASSWORD_LENGTH = 128  # ASVS 5.0, 6.2.9 asks for 64 or more; a bound keeps the cost of a hash one
TOKEN_LENGTH = 16_384  # a larger body is invalid; the token itself is refused from 2 KiB on


class EmailField(serializers.EmailField):
    """An e-mail address in its stored form: lower case, the domain in ASCII."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=EMAIL_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if len(text) > EMAIL_LENGTH:  # before the conversion of a domain of any length
            self.fail("max_length", max_length=EMAIL_LENGTH)
        try:
            return email_normalised(clean_plain(text))
        except UncleanText as error:  # a domain of any script may hold what reorders it
            raise serializers.ValidationError(error.detail, code=error.code) from error

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        if isinstance(value, str) and len(value) > EMAIL_LENGTH:
            self.fail("max_length", max_length=EMAIL_LENGTH)  # grown by the ASCII form of its domain
        return value


class PasswordField(serializers.CharField):
    """A password exactly as it was typed; never shown."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=PASSWORD_LENGTH,
            trim_whitespace=False,
            write_only=True,
            style={"input_type": "password"},
            **options,
        )


class UserSerializer(serializers.ModelSerializer[User]):
    """An account."""

    class Meta:
        model = User
        fields = USER_FIELDS
        read_only_fields = USER_FIELDS


class RegisterSerializer(StrictSerializer):
    """A new account."""

    email = EmailField()
    password = PasswordField(
        help_text="12 characters or more, not one of the common ones, not like the e-mail or name."
    )
    name = PlainTextField(max_length=NAME_LENGTH, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            validate_password(attrs["password"], user=User(email=attrs["email"], name=attrs["name"]))
        except ValidationError as error:
            details = [serializers.ErrorDetail(each.messages[0], code=each.code) for each in error.error_list]
            raise serializers.ValidationError({"password": details}) from error
        return attrs


class LoginSerializer(StrictSerializer):
    """Credentials."""

    email = EmailField()
    password = PasswordField()


class RefreshSerializer(StrictSerializer):
    """The refresh token of a sign-in; it works once."""

    refresh = serializers.CharField(max_length=TOKEN_LENGTH, write_only=True)


class TokenPairSerializer(serializers.Serializer[Any]):
    """The tokens of a sign-in."""

    access = serializers.CharField(help_text="For the Authorization header, until expires_in has passed.")
    refresh = serializers.CharField(help_text="For auth/refresh, once.")
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")
    session = serializers.UUIDField(help_text="The sign-in that the tokens belong to.")


class MeSerializer(StrictSerializer):
    """What people may change about their own account."""

    name = PlainTextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
