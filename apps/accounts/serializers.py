"""The request and response bodies of accounts and sessions."""

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
LINK_LENGTH = 200  # the longest token of a mailed link; ours have 43 characters
TOKEN_LENGTH = 16_384  # longer ones fail validation; a token of more than 2 KiB is refused as a token


class PasswordField(serializers.CharField):
    """A password exactly as typed, write-only. The hasher normalises it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, write_only=True, style={"input_type": "password"}, **options)
        self.validators.append(PasswordLengthValidator())


class NewPasswordField(PasswordField):
    """A password that a user chooses. The validators run where the account's other values are known."""

    def __init__(self, **options: Any) -> None:
        text = "At least 12 characters. Not based on a common password, and not similar to the e-mail address or name."
        super().__init__(help_text=text, **options)

    @property
    def json_schema(self) -> dict[str, Any]:
        """Return its JSON schema: a pattern for the length, because drf-spectacular writes its own ``minLength``."""
        validators: Any = settings.AUTH_PASSWORD_VALIDATORS  # annotated by django-stubs as dicts of str
        shortest = max(one.get("OPTIONS", {}).get("min_length", 1) for one in validators)
        return {"pattern": rf"^[^\u0000]{{{shortest},}}$"}


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
    """Credentials, and the transport of the tokens."""

    email = EmailAddressField()
    password = PasswordField()
    transport = serializers.ChoiceField(
        choices=[Transport.BEARER.value, Transport.COOKIE.value],
        default=Transport.BEARER.value,
        help_text="bearer: tokens in the response body. cookie: in HttpOnly cookies, for pages of a listed origin.",
    )


class RefreshSerializer(StrictSerializer):
    """A refresh token, which works once. Omit it if it is in a cookie."""

    refresh = serializers.CharField(max_length=TOKEN_LENGTH, required=False, write_only=True)


class EmailSerializer(StrictSerializer):
    """The address to send a mail to."""

    email = EmailAddressField()


class LinkSerializer(StrictSerializer):
    """The token of a mailed link."""

    token = serializers.CharField(max_length=LINK_LENGTH, write_only=True, help_text="The part of the link after #.")


class PasswordChangeSerializer(StrictSerializer):
    """A new password, confirmed by the current one."""

    current_password = PasswordField()
    new_password = NewPasswordField()


class PasswordResetSerializer(LinkSerializer):
    """A new password, with the token of a mailed link."""

    new_password = NewPasswordField()


class TokenPairSerializer(serializers.Serializer[Any]):
    """The tokens of a session."""

    access = serializers.CharField(help_text="For the Authorization header. Valid for expires_in seconds.")
    refresh = serializers.CharField(help_text="For auth/refresh. Works once.")
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")
    session = serializers.UUIDField(help_text="The session that the tokens belong to.")


class CSRFTokenSerializer(serializers.Serializer[Any]):
    """The token that shows that one of our pages sent a request."""

    csrf_token = serializers.CharField(
        help_text="Send it in the X-CSRFToken header, for as long as the session is active."
    )


class CookiePairSerializer(CSRFTokenSerializer):
    """A session whose tokens are in cookies."""

    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds until the access cookie expires.")
    session = serializers.UUIDField(help_text="The session that the tokens belong to.")


class SessionSerializer(serializers.ModelSerializer[Session]):
    """An active session: one place where you are signed in."""

    current = serializers.BooleanField(help_text="Whether this is the session that sent the request.")

    class Meta:
        model = Session
        fields = ("id", "device", "address", "created_at", "last_used_at", "current")
        read_only_fields = fields
        extra_kwargs: ClassVar[dict[str, dict[str, str]]] = {
            "device": {"help_text": "The User-Agent that last used it."},
            "address": {"help_text": "The IP address that it was last used from; null if unknown."},
        }


class MeSerializer(StrictSerializer):
    """The fields that users can change in their own account."""

    name = PlainTextField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    email = EmailAddressField(
        required=False, help_text="A new e-mail address, which takes effect once the link mailed to it is followed."
    )
    current_password = PasswordField(required=False, help_text="Required with email.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "email" in attrs and "current_password" not in attrs:
            detail = serializers.ErrorDetail(
                "Enter the current password to change the e-mail address.", code="required"
            )
            raise serializers.ValidationError({"current_password": [detail]})
        return attrs


class AccountDeleteSerializer(StrictSerializer):
    """The password that confirms a deletion."""

    password = PasswordField()
