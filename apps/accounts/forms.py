"""The admin's forms for accounts; what they save, the services save."""

from __future__ import annotations

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
from apps.accounts.services.credentials import (
    CredentialsRefused,
    PasswordWrong,
    password_check_again,
    user_authenticate,
)
from apps.accounts.services.deletion import LastAdministrator
from apps.accounts.services.events import NOWHERE, Origin
from apps.accounts.services.passwords import password_replace
from apps.accounts.services.users import user_password_set
from apps.accounts.transports import device_presented
from apps.accounts.validators import PasswordLengthValidator
from apps.practices.validation.addresses import email_clean
from apps.practices.validation.text import UncleanText, clean_plain


class _CleanFields:
    """The API's rules for what people write: an address in its stored form, a name without control characters."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        try:
            return email_clean(self.cleaned_data["email"])
        except UncleanText as error:
            raise forms.ValidationError(error.detail, code=error.code) from error

    def clean_name(self) -> str:
        try:
            return clean_plain(self.cleaned_data["name"])
        except UncleanText as error:
            raise forms.ValidationError(error.detail, code=error.code) from error


def _bound(form: forms.Form | forms.ModelForm, *names: str) -> None:
    """Refuse passwords that are too long before anything looks at them."""
    for name in names:
        form.fields[name].validators.append(PasswordLengthValidator())


class UserForm(_CleanFields, forms.ModelForm):
    """An account without its password."""

    class Meta:
        model = User
        exclude = ("password",)  # noqa: DJ006 - the admin's fieldsets name the fields; this one must never be among them

    def clean(self) -> dict[str, Any] | None:
        """Let one active superuser stay. Who may not change rights finds no box for them, and no superuser to change."""
        given = super().clean()
        stays = self.cleaned_data.get("is_active") and self.cleaned_data.get("is_superuser")
        if not stays and is_last_administrator([self.instance.pk]):
            raise forms.ValidationError(LastAdministrator.explanation, code="last_administrator")
        return given


class UserCreateForm(_CleanFields, AdminUserCreationForm):
    """A new account, with a password or with none."""

    class Meta:
        model = User
        fields = ("email", "name")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _bound(self, "password1", "password2")


class PasswordSetForm(AdminPasswordChangeForm):
    """A new password for somebody; their sign-ins end."""

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(user, *args, **options)
        _bound(self, "password1", "password2")

    def save(self, commit: bool = True) -> User:
        usable = self.cleaned_data.get("set_usable_password", True)
        password = self.cleaned_data["password1"] if usable else None
        user_password_set(user=self.user, password=password, now=timezone.now())
        return self.user


class SignInForm(AdminAuthenticationForm):
    """The admin's door. Tries are counted as at auth/login; what that answers with 429 or 503 is raised here, too."""

    def __init__(self, request: HttpRequest | None = None, *args: Any, **options: Any) -> None:
        super().__init__(request, *args, **options)
        _bound(self, "password")

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("username") and given.get("password"):
            who = {"email": given["username"], "password": given["password"]}
            try:
                origin = origin_of(self.request) if self.request else NOWHERE
                device = device_presented(self.request) if self.request else None
                user = user_authenticate(**who, origin=origin, now=timezone.now(), device=device)
            except CredentialsRefused as refusal:
                raise self.get_invalid_login_error() from refusal
            self.confirm_login_allowed(user)
            self.user_cache = user
        return given


class OwnPasswordForm(AdminOwnPasswordForm):
    """Another password for oneself, by who knows the present one."""

    def __init__(self, user: User, *args: Any, origin: Origin = NOWHERE, **options: Any) -> None:
        super().__init__(user, *args, **options)
        self.origin = origin
        _bound(self, "old_password", "new_password1", "new_password2")

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        try:
            self.user = password_check_again(
                user_id=self.user.pk, password=password, origin=self.origin, now=timezone.now()
            )
        except PasswordWrong as refusal:
            raise forms.ValidationError(refusal.errors[0].detail, code="password_incorrect") from refusal
        return password

    def save(self, commit: bool = True) -> User:
        hashed = make_password(self.cleaned_data["new_password1"])
        self.user = password_replace(checked=self.user, hashed=hashed, origin=self.origin, now=timezone.now())
        return self.user
