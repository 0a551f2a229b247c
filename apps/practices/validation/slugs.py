"""Slugs of any script: letters and digits with the marks that belong to them, hyphens and underscores.

Django's own pattern knows letters alone, and so takes the vowel signs out of Devanagari or Thai. A mark belongs to the letter
before it. A joiner (U+200C, U+200D) belongs into a word where its script writes one: after a virama, and U+200C between two
letters of Arabic script (RFC 5892, appendix A.1 and A.2).
"""

import re
import unicodedata

from django.core.exceptions import ValidationError
from django.utils.text import slugify

from apps.practices.validation.text import UncleanText, clean_plain, invisible

_WORD, _MARK, _JOINER, _SPACE, _OTHER = range(5)
_JOINERS = "\u200c\u200d"
_VIRAMA = 9  # canonical combining class
_PLAIN = re.compile(r"[a-z0-9_-]*")
_DOTTED = "i\u0307"  # what İ becomes in lower case
_REFUSED = "A slug is made of letters, digits, hyphens and underscores, of any script."


def slug_clean(text: str, *, lowercase: bool = False) -> str:
    """Return a slug in its stored form, normal form C and with ``lowercase`` in lower case; raise ``UncleanText`` for others.

    Cleaning a clean slug changes nothing.
    """
    if _PLAIN.fullmatch(text):
        return text
    slug = clean_plain(_lower(clean_plain(text)) if lowercase else text)
    if not all(_fits(slug, place) for place in range(len(slug))):
        raise UncleanText("invalid", _REFUSED)
    return slug


def slug_from(text: str, *, length: int) -> str:
    """Return the slug of a text, of at most ``length`` characters; it may be empty. ``slug_clean`` leaves it as it is.

    What is no letter, digit or mark is left out, and white space becomes a hyphen, as Django's ``slugify`` does it.
    """
    if text.isascii():
        slug = slugify(text)
    else:
        text = unicodedata.normalize("NFC", _lower(unicodedata.normalize("NFKC", text)))
        kept = (" " if _kind(text[place]) == _SPACE else text[place] * _fits(text, place) for place in range(len(text)))
        slug = re.sub(r"[-\s]+", "-", "".join(kept))
        # What stood between was left out: a mark may have lost its letter, or two runs of marks have met.
        slug = unicodedata.normalize("NFC", "".join(slug[place] * _fits(slug, place) for place in range(len(slug))))
    return slug.strip("-_")[:length].rstrip(f"-_{_JOINERS}")


def validate_slug(value: str) -> None:
    """Raise Django's ``ValidationError`` (``invalid``) unless the value is a slug: the validator of a model's column."""
    try:
        slug_clean(value)
    except UncleanText as error:
        raise ValidationError(error.detail, code="invalid") from error


def _lower(text: str) -> str:
    """Return the text in lower case, a dotted capital I of Turkish as the i that it is."""
    return text.lower().replace(_DOTTED, "i")


def _fits(text: str, place: int) -> bool:
    """Return whether a character may be in a slug, where it is."""
    kind = _kind(text[place])
    if kind == _MARK:
        return place > 0 and _kind(text[place - 1]) in (_WORD, _MARK, _JOINER) and text[place - 1] not in "-_"
    return kind == _WORD or (kind == _JOINER and _joins(text, place))


def _joins(text: str, place: int) -> bool:
    if place == 0:
        return False
    if unicodedata.combining(text[place - 1]) == _VIRAMA:
        return True
    before = text[:place].rstrip("".join(mark for mark in set(text[:place]) if _kind(mark) == _MARK))[-1:]
    beside = (before, text[place + 1 : place + 2])
    return text[place] == "\u200c" and all(one and unicodedata.bidirectional(one) == "AL" for one in beside)


def _kind(character: str) -> int:
    if character.isalnum() or character in "-_":
        return _WORD
    if character in _JOINERS:
        return _JOINER
    if character.isspace():
        return _SPACE
    is_mark = unicodedata.category(character) in ("Mn", "Mc") and not invisible(character)
    return _MARK if is_mark else _OTHER
