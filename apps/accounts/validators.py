"""Which passwords are too easy to guess: common ones, and what people make of them to reach the length that is asked for.

Django runs every validator whatever the others said, so each of these looks at the length first: a password of megabytes costs
nothing at any door. All of them look at the password as it is hashed (`password_normalised`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator

from apps.accounts.hashers import PASSWORD_LENGTH, password_length, password_normalised

TOO_LONG = "Use %(limit_value)d characters at most."
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_TAIL = re.compile(r"\d*[\W_]*$")  # a year, say: digits and signs that spell no letters
_REPEATED = re.compile(r"(.+?)\1+", re.DOTALL)
# What stands for which letter in the passwords that crackers' rules begin with.
_LETTERS = str.maketrans("@4301!$57", "aaeoiisst")
_UNIT_MIN = 4  # a shorter piece, repeated, is nothing but its repetition


class PasswordLengthValidator(MaxLengthValidator):
    """Refuses more than PASSWORD_LENGTH characters, counted as they are hashed: for every field that takes a password."""

    message = TOO_LONG

    def __init__(self) -> None:
        super().__init__(PASSWORD_LENGTH)

    def clean(self, password: Any) -> int:
        return password_length(password)


class _Bounded:
    """Looks at passwords of an acceptable length alone, in the form that is hashed."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if password_length(password) <= PASSWORD_LENGTH:
            super().validate(password_normalised(password), user)  # type: ignore[misc]  # Django's validator comes next


class LengthValidator(_Bounded, password_validation.MinimumLengthValidator):
    """Refuses passwords that are too short, and those that are too long."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        PasswordLengthValidator()(password)
        super().validate(password, user)


class SimilarityValidator(_Bounded, password_validation.UserAttributeSimilarityValidator):
    """Refuses what is like the address or the name."""


class NumericPasswordValidator(_Bounded, password_validation.NumericPasswordValidator):
    """Refuses digits only."""


class _CommonPasswords(password_validation.CommonPasswordValidator):
    """Refuses Django's 20,000 common passwords, however they were dressed up.

    Of that list 190 have 12 characters, so compared letter for letter it refuses next to nothing. Compared are also
    what is left without digits and signs at both ends ("Password2024!"), with letters for the signs that stand for them
    ("P@ssw0rd…"), and the piece that a password repeats ("monkeymonkey"); and the name of the service counts as common (OWASP
    ASVS 5.0, 6.2.4 and 6.2.11; NIST SP 800-63B, 3.1.1.2). Several words in a row are a passphrase, and pass.
    """

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        site = _squeezed(settings.SITE_NAME)
        for form in _forms(password.lower()):
            if form in self.passwords or len(form) < _UNIT_MIN or _squeezed(form) == site:
                raise ValidationError(self.get_error_message(), code="password_too_common")

    def get_error_message(self) -> str:
        return "This password is a common one, or made of one."

    def get_help_text(self) -> str:
        return "Not a common password, nor one with digits or signs added to it: several words are better."


class CommonPasswordValidator(_Bounded, _CommonPasswords):
    """Refuses common passwords of an acceptable length."""


def _squeezed(text: str) -> str:
    return re.sub(r"\W", "", text.lower())


def _forms(password: str) -> Iterator[str]:
    """Give the password, what it may have been made of, and the piece that each of these repeats."""
    core = _ENDS.sub("", password)
    spelt = _ENDS.sub("", _TAIL.sub("", password).translate(_LETTERS))
    for form in {password, password.strip(), core, core.translate(_LETTERS), spelt}:
        if len(form) < _UNIT_MIN:
            continue  # what stands around it is the password
        yield form
        if repeated := _REPEATED.fullmatch(form):
            yield repeated[1]
