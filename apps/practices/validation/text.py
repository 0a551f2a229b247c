"""Cleaning of text by pure functions, for the API, the admin, imports and commands.

Characters that cannot be intended are refused, never silently removed. Where several spellings are equivalent (Unicode normal
forms, line ends, surrounding white space), one is stored.
"""

import re
import unicodedata
from functools import cache
from html.entities import html5
from typing import NamedTuple

import nh3
from django.conf import settings

from apps.practices.validation.html import keep_first_line_feed, text_of
from apps.practices.validation.nesting import nesting_fault


class Fault(NamedTuple):
    """Why a text is refused. An import may refuse a value for every few bytes of its file, so this is no exception."""

    code: str
    detail: str


# Refused in every text. Bidirectional embeddings, overrides and isolates reorder what a reader sees (CVE-2021-42574, "Trojan
# Source"). The plain marks U+200E, U+200F and U+061C do not, and Arabic and Hebrew text needs them.
_FAULTS = (
    (re.compile(r"\x00"), Fault("nul", "NUL characters are not allowed.")),
    (re.compile(r"[\ud800-\udfff]"), Fault("surrogate", "Lone surrogates are not allowed.")),
    (re.compile(r"[\u202a-\u202e\u2066-\u2069]"), Fault("bidi", "Bidirectional control characters are not allowed.")),
)
_WORSE_THAN_CONTROL = re.compile(r"[\x00\ud800-\udfff\u202a-\u202e\u2066-\u2069]")  # any of these
_NO_CONTROL = Fault("control", "Control characters are not allowed.")
_NO_CONTROL_OR_BREAK = Fault("control", "Control characters and line breaks are not allowed.")
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed
_CONTROL_OR_BREAK = re.compile(r"[\x01-\x1f\x7f-\x9f\u2028\u2029]")
# Any of the above: most texts contain none and need only this scan.
_FAULTY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FAULTY_OR_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?|[\u2028\u2029]")
_NEEDS_CLEANING = re.compile(r"[^\x20-\x7e]")
# White space and default-ignorable characters. Joiners and marks are part of ordinary text (Persian, emoji), but not
# visible alone.
_INVISIBLE = re.compile(
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\U000e0000-\U000e0fff]*"
)
# HTML without tags, as nh3 writes it: it would not change such text. (It drops a byte order mark at the start.)
_TEXT = r"[^<>&\xa0\ufeff]*+(?:&(?:amp|lt|gt|nbsp);[^<>&\xa0\ufeff]*+)*+"
_WITHOUT_TAGS = re.compile(_TEXT)
# Text without a whole tag and, unless it has one of `_NAMES`, without an entity, which nh3 escapes. An entity may lack its
# semicolon only if its name is an old one (HTML, 13.2.5.73). A tag or comment that is not closed is dropped, up to the end
# (13.2.5.6 to 13.2.5.43).
_OLD_NAMES = "|".join(sorted(name for name in html5 if not name.endswith(";")))
_UNESCAPED = re.compile(
    rf"([^<&\xa0\ufeff]*+(?:(?:<(?![a-zA-Z!/?])|&(?!#|{_OLD_NAMES}))[^<&\xa0\ufeff]*+)*+)(?:<(?:[a-zA-Z!?]|/[^>])[^>]*+)?+"
)
_NAMES = re.compile(r"&([a-zA-Z0-9]++;)")
# HTML that nh3 wrote and would not change: paragraphs, and formatting that is not nested.
_INLINE = rf"{_TEXT}(?:<(b|i|em|strong|code|s|u|sub|sup)>{_TEXT}</\{{}}>{_TEXT})*+"
_STABLE = re.compile(rf"{_INLINE.format(1)}(?:<p>{_INLINE.format(2)}</p>{_TEXT})*+")
_HTML_ROUNDS = 6
# Short HTML that was parsed, since rows of an import repeat it. A dictionary, because of rows that do not: a miss of `lru_cache`
# takes half as long as the parser.
_known: dict[str, "str | Fault"] = {}
_KNOWN_MAX = 1_000
_SHORT = 100  # characters; too few for HTML that is expensive to parse

# Combining marks in a row; no language needs more (UAX #15, Stream-Safe Text Format). Normalising sorts them by insertion, so its
# cost grows with the square of their number, while no other thread runs.
_MARKS_MAX = 30
_MARKS = Fault("marks", f"More than {_MARKS_MAX} combining marks in a row are not allowed.")
_FIRST_MARK = "\u0300"
_NO_ORDINARY_RUN = re.compile(
    rf"[{_FIRST_MARK}-\U0010ffff]{{{_MARKS_MAX + 1},}}"
)  # where there could be too many marks

# Limits of every rich text. `nesting.nesting_fault` limits its depth.
_HTML_CHARACTERS = 400_000
_HTML_TAGS = 20_000  # opening and closing tags


class UncleanText(ValueError):
    """Text that is refused; ``code`` and ``detail`` are those of a field error."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def clean_plain(text: str, *, multiline: bool = False) -> str:
    """Return ``text`` in Unicode normal form C without surrounding white space.

    ``multiline`` allows tabs and line ends; each line end becomes a line feed. Cleaning clean text changes nothing. Raise
    ``UncleanText`` for NUL, lone surrogates, control and bidirectional control characters, and for
    more than 30 combining marks in a row.
    """
    return or_raise(plain_or_fault(text, multiline=multiline))


def clean_html(text: str) -> str:
    """Return ``text`` as HTML with only the tags, attributes and URL schemes that the settings allow.

    Scripts and styles are removed with their content, other tags without it. Cleaning the result again changes nothing:
    otherwise a composition such as ``>`` with U+0338 could undo a tag after it was checked. Raise ``UncleanText`` as
    ``clean_plain`` does, also for characters in entities, for HTML that does not become stable, and for HTML that is
    disproportionately expensive to parse.
    """
    return or_raise(html_or_fault(text))


def plain_or_fault(text: str, *, multiline: bool = False) -> str | Fault:
    """Return what ``clean_plain`` does, or why it refuses the text."""
    if not _NEEDS_CLEANING.search(text):
        return text.strip()
    if multiline:
        text = _LINE_END.sub("\n", text)
    return _fault(text, multiline=multiline) or unicodedata.normalize("NFC", text).strip()


def html_or_fault(text: str) -> str | Fault:
    """Return what ``clean_html`` does, or why it refuses the text."""
    plain = plain_or_fault(text, multiline=True)
    if isinstance(plain, Fault) or _WITHOUT_TAGS.fullmatch(plain):
        return plain  # most rows of an import are such text
    if (found := _UNESCAPED.fullmatch(plain)) and not (";" in plain and any(map(html5.get, _NAMES.findall(found[1])))):
        return found[1].strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(plain) > _SHORT:
        return _parsed(plain)
    cleaned = _known.get(plain)
    if cleaned is None:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        cleaned = _known[plain] = _parsed(plain)
    return cleaned


def plain_from_html(clean: str) -> str:
    """Return the text of clean HTML as one line of clean plain text, without excessive combining marks."""
    text = text_of(clean) if "<" in clean or "&" in clean else " ".join(clean.split())
    try:
        return clean_plain(text)
    except UncleanText:  # marks that were separated by tags
        return clean_plain(_too_many_marks().sub("", text))


def require_clean(text: str, *, multiline: bool = False) -> str:
    """Return ``text`` unchanged, where spaces and spelling matter; raise ``UncleanText`` as ``clean_plain`` does."""
    if _NEEDS_CLEANING.search(text):
        or_raise(_fault(_LINE_END.sub("\n", text) if multiline else text, multiline=multiline) or text)
    return text


def or_raise(outcome: str | Fault) -> str:
    """Return a text, or raise ``UncleanText`` with its fault."""
    if isinstance(outcome, Fault):
        raise UncleanText(*outcome)
    return outcome


def invisible(text: str) -> bool:
    """Return whether ``text`` has no visible character."""
    return _INVISIBLE.fullmatch(text) is not None


def text_fault(text: str) -> Fault | None:
    """Return the fault of a NUL or lone surrogate in ``text``, which cannot be stored or sent; else None.

    Fields decide about control characters.
    """
    return next((fault for pattern, fault in _FAULTS[:2] if pattern.search(text)), None)


def _parsed(text: str) -> str | Fault:
    """Return what the parser makes of HTML, once parsing it again changes nothing."""
    if len(text) > _SHORT and (fault := _expense(text)):
        return fault
    clean = _cleaner().clean
    for _ in range(_HTML_ROUNDS):
        cleaned = plain_or_fault(keep_first_line_feed(clean(text)), multiline=True)
        if isinstance(cleaned, Fault) or cleaned == text or _STABLE.fullmatch(cleaned):
            return cleaned
        text = cleaned
    return Fault("html", "This HTML could not be cleaned. Simplify it.")


def _expense(text: str) -> Fault | None:
    """Return the fault of HTML that is disproportionately expensive to parse; else None."""
    if len(text) > _HTML_CHARACTERS or text.count("<") > _HTML_TAGS:
        return Fault("html", f"The HTML has more than {_HTML_TAGS} tags, or {_HTML_CHARACTERS} characters.")
    fault = nesting_fault(text)
    return Fault("html", fault) if fault else None


@cache
def _too_many_marks() -> re.Pattern[str]:
    """Return the pattern of too many characters in a row that normalising would sort."""
    marks = [
        chr(code)
        for code in range(ord(_FIRST_MARK), 0x20000)  # there are none before or beyond
        if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0])
    ]
    # Two sets: `re` looks up characters of the first plane in a table, and scans the set for others.
    first = "".join(mark for mark in marks if mark < "\U00010000")
    others = "".join(mark for mark in marks if mark >= "\U00010000")
    return re.compile(f"(?:[{first}]|(?=[\U00010000-\U0001ffff])[{others}]){{{_MARKS_MAX + 1}}}")


def _fault(text: str, *, multiline: bool) -> Fault | None:
    """Return the first fault of ``text``; None if it has none."""
    if (_FAULTY if multiline else _FAULTY_OR_BREAK).search(text):
        if _WORSE_THAN_CONTROL.search(text):
            return next(fault for pattern, fault in _FAULTS if pattern.search(text))
        if (_CONTROL if multiline else _CONTROL_OR_BREAK).search(text):
            return _NO_CONTROL if multiline else _NO_CONTROL_OR_BREAK
    for run in _NO_ORDINARY_RUN.finditer(text):
        if _too_many_marks().search(text, *run.span()):
            return _MARKS
    return None


@cache
def _cleaner() -> nh3.Cleaner:
    """Return the cleaner, built once, since building it costs more than cleaning a short text."""
    tags = set(settings.VALIDATION_HTML_TAGS)
    return nh3.Cleaner(
        tags=tags,
        attributes={tag: set(names) for tag, names in settings.VALIDATION_HTML_ATTRIBUTES.items()},
        url_schemes=set(settings.VALIDATION_URL_SCHEMES),
        clean_content_tags={"script", "style"} - tags,
        link_rel="nofollow noopener noreferrer",
        strip_comments=True,
    )
