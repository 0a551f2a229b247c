"""Validate passwords: refuse common ones, and the ways in which people lengthen them.

Django runs every validator even if another has failed, so each of these checks the length first: a password of megabytes costs
nothing. All of them check the password in the form that is hashed (`password_normalised`).
"""

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator

from apps.accounts.hashers import PASSWORD_LENGTH, password_length, password_normalised

TOO_LONG = "Use at most %(limit_value)d characters."
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_TAIL = re.compile(r"\d*[\W_]*$")  # such as a year: digits and signs that replace no letters
_REPEATED = re.compile(r"(.+?)\1+", re.DOTALL)
# The letters that these signs replace in password crackers' rules.
_LETTERS = str.maketrans("@4301!$57", "aaeoiisst")
_UNIT_MIN = 4  # a repeated piece that is shorter counts as common itself


class PasswordLengthValidator(MaxLengthValidator):
    """Refuses passwords longer than PASSWORD_LENGTH in the form that is hashed. For every field that takes a password."""

    message = TOO_LONG

    def __init__(self) -> None:
        super().__init__(PASSWORD_LENGTH)

    def clean(self, password: Any) -> int:
        return password_length(password)


class _Bounded:
    """Validates passwords in the form that is hashed, and skips those that are too long."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if password_length(password) <= PASSWORD_LENGTH:
            super().validate(password_normalised(password), user)  # type: ignore[misc]  # Django's validator comes next


class LengthValidator(_Bounded, password_validation.MinimumLengthValidator):
    """Refuses passwords that are too short or too long."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        PasswordLengthValidator()(password)
        super().validate(password, user)


class SimilarityValidator(_Bounded, password_validation.UserAttributeSimilarityValidator):
    """Refuses passwords that are similar to the address or name."""


class NumericPasswordValidator(_Bounded, password_validation.NumericPasswordValidator):
    """Refuses passwords of digits only."""


class _CommonPasswords(password_validation.CommonPasswordValidator):
    """Refuses Django's 20,000 common passwords, and variants of them.

    Only 190 on that list have 12 characters, so an exact comparison would refuse almost nothing. A password is therefore also
    compared without the digits and signs at both ends ("Password2024!"), with letters for the signs that replace them
    ("P@ssw0rd…"), and by the piece that it repeats ("monkeymonkey"). The service's name counts as common too (OWASP ASVS 5.0,
    6.2.4 and 6.2.11; NIST SP 800-63B, 3.1.1.2). Several words in a row are a passphrase and are accepted.
    """

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        site = _squeezed(settings.SITE_NAME)
        for form in _forms(password.lower()):
            if form in self.passwords or len(form) < _UNIT_MIN or _squeezed(form) == site:
                raise ValidationError(self.get_error_message(), code="password_too_common")

    def get_error_message(self) -> str:
        return "This password is too common, or too similar to a common one."

    def get_help_text(self) -> str:
        return "Your password can't be a common password, or one with digits or signs added. Use several words instead."


class CommonPasswordValidator(_Bounded, _CommonPasswords):
    """Refuses common passwords and their variants."""


def _squeezed(text: str) -> str:
    return re.sub(r"\W", "", text.lower())


def _forms(password: str) -> Iterator[str]:
    """Yield the password, what it may be based on, and the piece that each of these repeats."""
    core = _ENDS.sub("", password)
    spelt = _ENDS.sub("", _TAIL.sub("", password).translate(_LETTERS))
    for form in {password, password.strip(), core, core.translate(_LETTERS), spelt}:
        if len(form) < _UNIT_MIN:
            continue  # too short: the digits and signs around it make up the password
        yield form
        if repeated := _REPEATED.fullmatch(form):
            yield repeated[1]
