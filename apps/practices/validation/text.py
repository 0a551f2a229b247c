"""Cleaning text: pure functions, the same for the API, the admin, imports and commands.

What cannot be meant is refused, never silently removed: a client learns of it, and what is stored is what
was sent. What has several spellings (Unicode normal forms, line ends, outer space) gets one.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

import nh3
from django.conf import settings

from apps.practices.validation.html import keep_first_line_feed, text_of
from apps.practices.validation.nesting import nesting_fault

# What no text may hold. The bidirectional embeddings, overrides and isolates reorder what a reader sees
# (CVE-2021-42574, "Trojan Source"); the plain marks U+200E, U+200F and U+061C, which ordinary Arabic and
# Hebrew text needs, do not.
_FAULTS = (
    (re.compile(r"\x00"), "nul", "NUL characters are not allowed."),
    (re.compile(r"[\ud800-\udfff]"), "surrogate", "Lone surrogates are not allowed."),
    (re.compile(r"[\u202a-\u202e\u2066-\u2069]"), "bidi", "Bidirectional control characters are not allowed."),
)
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed
_CONTROL_OR_BREAK = re.compile(r"[\x01-\x1f\x7f-\x9f\u2028\u2029]")
# Any of the above: most texts hold none, and are looked through once.
_FAULTY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FAULTY_OR_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SUSPECT = re.compile(r"[^\x20-\x7e]")
# White space, and what Unicode calls default-ignorable. Joiners and marks are part of ordinary text (Persian, emoji), but no
# text by themselves.
_INVISIBLE = re.compile(
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\U000e0000-\U000e0fff]*"
)
_MARKUP = re.compile(r"[<>&]")
_HTML_ROUNDS = 6

# Marks in a row on one character; no language needs as many (UAX #15, Stream-Safe Text Format). Normalising sorts a run by
# insertion, so that its cost grows with the square of the run's length, and nothing else in the process runs meanwhile.
_MARKS_MAX = 30
_FIRST_MARK = "\u0300"
_NO_ORDINARY_RUN = re.compile(rf"[{_FIRST_MARK}-\U0010ffff]{{{_MARKS_MAX + 1},}}")  # where so many marks could be

# What a document of rich text may have, whatever its field says. How deep it may nest is `nesting.nesting_fault`'s to say.
_HTML_CHARACTERS = 400_000
_HTML_TAGS = 20_000  # opening and closing

_Attributes = tuple[tuple[str, frozenset[str]], ...]


class UncleanText(ValueError):
    """Text that holds what no text may; ``code`` and ``detail`` say what, for a field error."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def clean_plain(text: str, *, multiline: bool = False) -> str:
    """Give ``text`` in Unicode normal form C without outer white space.

    ``multiline`` lets tabs and line ends in, the latter as one line feed each. Cleaning clean text changes
    nothing. Raises ``UncleanText`` for NUL, lone surrogates, control and bidirectional control characters, and for
    more than 30 combining marks in a row.
    """
    if not _SUSPECT.search(text):
        return text.strip()
    text = _checked(_with_line_feeds(text) if multiline else text, multiline=multiline)
    return unicodedata.normalize("NFC", text).strip()


def clean_html(text: str) -> str:
    """Give ``text`` as HTML of the tags, attributes and URL schemes that the settings allow, and no other.

    Everything else goes: scripts and styles with what they hold, other tags without. The result is a fixed
    point of parsing, cleaning and normalising, so cleaning it again changes nothing (a composition such as
    ``>`` with U+0338 could otherwise undo a tag after it was judged). Raises ``UncleanText`` as
    ``clean_plain`` does, also for characters hidden in entities, for text that finds no fixed point, and for text
    that would cost a parser far more than its size.
    """
    text = clean_plain(text, multiline=True)
    if text.isascii() and not _MARKUP.search(text):
        return text  # what a parser would give back, at a fraction of the cost: most rows of an import
    cleaner = _cleaner(
        frozenset(settings.VALIDATION_HTML_TAGS),
        _frozen(settings.VALIDATION_HTML_ATTRIBUTES),
        frozenset(settings.VALIDATION_URL_SCHEMES),
    )
    _require_parsable(text)
    for _ in range(_HTML_ROUNDS):
        cleaned = clean_plain(keep_first_line_feed(cleaner.clean(text)), multiline=True)
        if cleaned == text:
            return text
        text = cleaned
    raise UncleanText("html", "The HTML cannot be cleaned.")


def plain_from_html(clean: str) -> str:
    """Return what clean HTML says as one line of clean plain text, without what would be too many marks in a row."""
    text = text_of(clean) if "<" in clean or "&" in clean else " ".join(clean.split())
    try:
        return clean_plain(text)
    except UncleanText:  # marks that tags kept apart
        return clean_plain(_too_many_marks().sub("", text))


def require_clean(text: str, *, multiline: bool = False) -> str:
    """Give ``text`` back as it is, where every space and spelling counts; raise ``UncleanText`` as ``clean_plain`` does."""
    if _SUSPECT.search(text):
        _checked(_with_line_feeds(text) if multiline else text, multiline=multiline)
    return text


def invisible(text: str) -> bool:
    """Tell whether nothing of ``text`` can be seen: empty, or made of spaces and of characters that show nothing."""
    return _INVISIBLE.fullmatch(text) is not None


def text_fault(text: str) -> tuple[str, str] | None:
    """Give (code, detail) of the first thing in ``text`` that no string of any kind may hold, else None.

    Control characters are a field's business; NUL and lone surrogates can be stored and sent nowhere.
    """
    for pattern, code, detail in _FAULTS[:2]:
        if pattern.search(text):
            return code, detail
    return None


def _require_parsable(text: str) -> None:
    """Raise ``UncleanText`` for HTML whose cost to a parser is out of proportion."""
    if len(text) > _HTML_CHARACTERS or text.count("<") > _HTML_TAGS:
        raise UncleanText("html", f"The HTML has more than {_HTML_TAGS} tags, or {_HTML_CHARACTERS} characters.")
    fault = nesting_fault(text)
    if fault:
        raise UncleanText("html", fault)


@lru_cache(maxsize=1)
def _too_many_marks() -> re.Pattern[str]:
    """Build the pattern of a run of characters that normalising would sort: non-starters, or made of them."""
    marks = [
        chr(code)
        for code in range(ord(_FIRST_MARK), 0x20000)  # none lies before or beyond
        if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0])
    ]
    # Two sets: `re` finds a character of the first plane by a table, and others by going through the set.
    first = "".join(mark for mark in marks if mark < "\U00010000")
    others = "".join(mark for mark in marks if mark >= "\U00010000")
    return re.compile(f"(?:[{first}]|(?=[\U00010000-\U0001ffff])[{others}]){{{_MARKS_MAX + 1}}}")


def _with_line_feeds(text: str) -> str:
    """Return ``text`` with a line feed for each line end."""
    for end in ("\r\n", "\r", "\u2028", "\u2029"):
        text = text.replace(end, "\n")
    return text


def _checked(text: str, *, multiline: bool) -> str:
    """Return ``text``, or raise ``UncleanText`` naming the first fault."""
    if (_FAULTY if multiline else _FAULTY_OR_BREAK).search(text):
        for pattern, code, detail in _FAULTS:
            if pattern.search(text):
                raise UncleanText(code, detail)
        if (_CONTROL if multiline else _CONTROL_OR_BREAK).search(text):
            kind = "Control characters" if multiline else "Control characters and line breaks"
            raise UncleanText("control", f"{kind} are not allowed.")
    for run in _NO_ORDINARY_RUN.finditer(text):
        if _too_many_marks().search(text, *run.span()):
            raise UncleanText("marks", f"More than {_MARKS_MAX} combining marks in a row are not allowed.")
    return text


def _frozen(attributes: Mapping[str, set[str]]) -> _Attributes:
    return tuple(sorted((tag, frozenset(names)) for tag, names in attributes.items()))


@lru_cache(maxsize=8)
def _cleaner(tags: frozenset[str], attributes: _Attributes, schemes: frozenset[str]) -> nh3.Cleaner:
    """Build the cleaner once for each set of rules: building costs more than a short text's cleaning."""
    return nh3.Cleaner(
        tags=set(tags),
        attributes={tag: set(names) for tag, names in attributes},
        url_schemes=set(schemes),
        clean_content_tags={"script", "style"} - tags,
        link_rel="nofollow noopener noreferrer",
        strip_comments=True,
    )
