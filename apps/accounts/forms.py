"""The admin's forms for accounts. They save through the services."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.forms import AdminPasswordChangeForm as AdminOwnPasswordForm
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.authentication import origin_of
from apps.accounts.models import User
from apps.accounts.selectors.users import is_last_administrator
from apps.accounts.services.credentials import CredentialsRefused, PasswordWrong, password_confirm, user_authenticate
from apps.accounts.services.deletion import LastAdministrator
from apps.accounts.services.events import NOWHERE, Origin
from apps.accounts.services.passwords import password_replace
from apps.accounts.services.users import user_password_set
from apps.accounts.transports import device_cookie
from apps.accounts.validators import PasswordLengthValidator
from apps.practices.validation.addresses import email_clean
from apps.practices.validation.text import UncleanText, clean_plain


class _CleanFields:
    """Applies the API's rules: an address in its stored form, a name without control characters."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        return _cleaned(email_clean, self.cleaned_data["email"])

    def clean_name(self) -> str:
        return _cleaned(clean_plain, self.cleaned_data["name"])


def _cleaned(clean: Callable[[str], str], text: str) -> str:
    try:
        return clean(text)
    except UncleanText as error:
        raise forms.ValidationError(error.detail, code=error.code) from error


def _bound_lengths(form: forms.Form | forms.ModelForm, *names: str) -> None:
    """Refuse passwords that are too long, before other validators run."""
    for name in names:
        form.fields[name].validators.append(PasswordLengthValidator())


class UserForm(_CleanFields, forms.ModelForm):
    """An account without its password."""

    class Meta:
        model = User
        exclude = ("password",)  # noqa: DJ006 - the admin's fieldsets list the fields, and must never include this one

    def clean(self) -> dict[str, Any] | None:
        """Refuse to deactivate or demote the last active superuser."""
        cleaned = super().clean()
        stays = self.cleaned_data.get("is_active") and self.cleaned_data.get("is_superuser")
        if not stays and is_last_administrator([self.instance.pk]):
            raise forms.ValidationError(LastAdministrator.explanation, code="last_administrator")
        return cleaned


class UserCreateForm(_CleanFields, AdminUserCreationForm):
    """A new account, with or without a password."""

    class Meta:
        model = User
        fields = ("email", "name")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _bound_lengths(self, "password1", "password2")


class PasswordSetForm(AdminPasswordChangeForm):
    """A new password for another user, whose sessions end."""

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(user, *args, **options)
        _bound_lengths(self, "password1", "password2")

    def save(self, commit: bool = True) -> User:
        usable = self.cleaned_data.get("set_usable_password", True)
        password = self.cleaned_data["password1"] if usable else None
        user_password_set(user=self.user, password=password, now=timezone.now())
        return self.user


class SignInForm(AdminAuthenticationForm):
    """The admin's sign-in form. Attempts are counted as in auth/login, and its 429 and 503 problems are raised here too."""

    def __init__(self, request: HttpRequest | None = None, *args: Any, **options: Any) -> None:
        super().__init__(request, *args, **options)
        _bound_lengths(self, "password")

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned.get("username") and cleaned.get("password"):
            try:
                user = user_authenticate(
                    email=cleaned["username"],
                    password=cleaned["password"],
                    origin=origin_of(self.request) if self.request else NOWHERE,
                    now=timezone.now(),
                    device=device_cookie(self.request) if self.request else None,
                )
            except CredentialsRefused as refusal:
                raise self.get_invalid_login_error() from refusal
            self.confirm_login_allowed(user)
            self.user_cache = user
        return cleaned


class OwnPasswordForm(AdminOwnPasswordForm):
    """A new password for oneself, confirmed by the current one."""

    def __init__(self, user: User, *args: Any, origin: Origin = NOWHERE, **options: Any) -> None:
        super().__init__(user, *args, **options)
        self.origin = origin
        _bound_lengths(self, "old_password", "new_password1", "new_password2")

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        try:
            self.user = password_confirm(
                user_id=self.user.pk, password=password, origin=self.origin, now=timezone.now()
            )
        except PasswordWrong as refusal:
            raise forms.ValidationError(refusal.errors[0].detail, code="password_incorrect") from refusal
        return password

    def save(self, commit: bool = True) -> User:
        hashed = make_password(self.cleaned_data["new_password1"])
        self.user = password_replace(checked=self.user, hashed=hashed, origin=self.origin, now=timezone.now())
        return self.user
