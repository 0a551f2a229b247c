"""Slugs of any script: letters and digits with the marks that belong to them, hyphens and underscores.

Django's own pattern only allows letters, and so removes the vowel signs of Devanagari or Thai. A mark belongs to the letter
before it. A joiner (U+200C, U+200D) is allowed after a virama, and U+200C between two letters of Arabic script (RFC 5892,
appendix A.1 and A.2).
"""

import re
import unicodedata

from django.core.exceptions import ValidationError

from apps.practices.validation.text import Fault, UncleanText, invisible, or_raise, plain_or_fault

_WORD, _MARK, _JOINER, _OTHER = range(4)
_JOINERS = "\u200c\u200d"
_VIRAMA = 9  # canonical combining class
_PLAIN = re.compile(r"[a-z0-9_-]*")
_NO_SLUG = re.compile(r"[^\w\s-]", re.ASCII)
_HYPHENS = re.compile(r"[-\s]+")
_DOTTED = "i\u0307"  # what İ becomes in lower case
_REFUSED = Fault("invalid", "A slug contains only letters, digits, hyphens and underscores, of any script.")


def slug_clean(text: str, *, lowercase: bool = False) -> str:
    """Return a slug in normal form C, with ``lowercase`` in lower case; raise ``UncleanText`` for any other text.

    Cleaning a clean slug changes nothing.
    """
    return or_raise(slug_or_fault(text, lowercase=lowercase))


def slug_or_fault(text: str, *, lowercase: bool = False) -> str | Fault:
    """Return what ``slug_clean`` does, or why it refuses the text."""
    if _PLAIN.fullmatch(text):
        return text
    slug = plain_or_fault(text)
    if isinstance(slug, str) and lowercase:
        slug = plain_or_fault(_lower(slug))
    return slug if isinstance(slug, Fault) or _kept(slug) == slug else _REFUSED


def slug_from(text: str, *, length: int) -> str:
    """Return a slug made of a text, with at most ``length`` characters; it may be empty. ``slug_clean`` does not change it.

    As in Django's ``slugify``, white space becomes a hyphen, and other characters are removed.
    """
    if text.isascii() and text.isalnum():
        slug = text.lower()  # no pattern would find anything
    elif text.isascii():
        slug = _HYPHENS.sub("-", _NO_SLUG.sub("", text.lower()))
    else:
        text = unicodedata.normalize("NFC", _lower(unicodedata.normalize("NFKC", text)))
        text = _kept(_HYPHENS.sub("-", text.strip()))
        slug = re.sub(r"-+", "-", text)
    return slug.strip("-_")[:length].rstrip(f"-_{_JOINERS}")


def validate_slug(value: str) -> None:
    """Raise Django's ``ValidationError`` (``invalid``) unless the value is a slug. For model fields."""
    try:
        slug_clean(value)
    except UncleanText as error:
        raise ValidationError(error.detail, code="invalid") from error


def _lower(text: str) -> str:
    """Return the text in lower case, with the Turkish İ as i."""
    return text.lower().replace(_DOTTED, "i")


def _kept(text: str) -> str:
    """Return the characters of a text that a slug may contain. A mark is removed together with its letter."""
    kept = ""
    is_kept = False
    for place, character in enumerate(text):
        is_kept = _fits(kept, character, text[place + 1 : place + 2], is_kept=is_kept)
        kept += character * is_kept
    return kept


def _fits(before: str, character: str, after: str, *, is_kept: bool) -> bool:
    """Return whether a character may follow ``before``; ``is_kept``: whether the character before it was kept."""
    kind = _kind(character)
    if kind == _MARK:
        return is_kept and before[-1] not in "-_"
    if kind == _JOINER:
        return is_kept and _joins(before, character, after)
    return kind == _WORD


def _joins(before: str, character: str, after: str) -> bool:
    if unicodedata.combining(before[-1]) == _VIRAMA:
        return True
    letter = next((one for one in reversed(before) if _kind(one) != _MARK), "-")
    return character == "\u200c" and all(map(_is_arabic, (letter, after or "-")))


def _is_arabic(letter: str) -> bool:
    return letter.isalpha() and unicodedata.bidirectional(letter) == "AL"


def _kind(character: str) -> int:
    if character.isalnum() or character in "-_":
        return _WORD
    if character in _JOINERS:
        return _JOINER
    is_mark = unicodedata.category(character) in ("Mn", "Mc") and not invisible(character)
    return _MARK if is_mark else _OTHER
