"""The admin's forms for accounts; what they save, the services save."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.utils import timezone

from apps.accounts.managers import email_normalised
from apps.accounts.models import User
from apps.accounts.serializers import PASSWORD_LENGTH
from apps.accounts.services.users import user_password_set
from apps.practices.validation.text import UncleanText, clean_plain


class _CleanFields:
    """The API's rules for what people write: an address in its stored form, a name without control characters."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        return email_normalised(self.cleaned_data["email"])

    def clean_name(self) -> str:
        try:
            return clean_plain(self.cleaned_data["name"])
        except UncleanText as error:
            raise forms.ValidationError(error.detail, code=error.code) from error


class UserForm(_CleanFields, forms.ModelForm):
    """An account without its password."""

    class Meta:
        model = User
        exclude = ("password",)  # noqa: DJ006 - the admin's fieldsets name the fields; this one must never be among them


class UserCreateForm(_CleanFields, AdminUserCreationForm):
    """A new account, with a password or with none."""

    class Meta:
        model = User
        fields = ("email", "name")


class PasswordSetForm(AdminPasswordChangeForm):
    """A new password for somebody; their sign-ins end."""

    def clean_password1(self) -> str | None:
        password: str | None = self.cleaned_data.get("password1")
        if password and len(password) > PASSWORD_LENGTH:
            raise forms.ValidationError(f"{PASSWORD_LENGTH} characters at most.", code="max_length")
        return password

    def save(self, commit: bool = True) -> User:
        usable = self.cleaned_data.get("set_usable_password", True)
        password = self.cleaned_data["password1"] if usable else None
        user_password_set(user=self.user, password=password, now=timezone.now())
        return self.user
