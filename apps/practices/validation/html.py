"""Clean HTML after the parser: stable when parsed again, and as plain text."""

import html
import re

from apps.practices.validation.nesting import INLINE

_PRE = re.compile(r"(<(?:pre|textarea|listing)(?: [^>]*)?>)\n")
# Inline tags, and all tags, of clean HTML, whose attributes have < and > escaped.
_UNBROKEN = re.compile(rf"</?(?:{'|'.join(sorted(INLINE | {'img', 'wbr'}))})(?![a-z0-9])[^>]*>")
_TAG = re.compile(r"</?[a-z0-9][^>]*>")


def keep_first_line_feed(clean: str) -> str:
    """Return the HTML with a line feed at the start of a ``pre`` doubled, since a parser drops the first."""
    return _PRE.sub(r"\1\n\n", clean) if "\n" in clean else clean


def text_of(clean: str) -> str:
    """Return the text of clean HTML as one line, with a space between blocks but not within words."""
    apart = _TAG.sub(" ", _UNBROKEN.sub("", clean))
    return " ".join(html.unescape(apart).split())
