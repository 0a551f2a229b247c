"""Clean HTML after the parser: written so that parsing it again changes nothing, and read as text."""

import html
import re

from apps.practices.validation.nesting import INLINE

_TAG = re.compile(r"</?([a-z0-9]+)[^>]*>")  # of clean HTML, in whose attributes < and > are escaped
_PRE = re.compile(r"(<(?:pre|textarea|listing)(?: [^>]*)?>)\n")
_UNBROKEN = INLINE | {"img", "wbr"}  # what is within a word or a sentence


def keep_first_line_feed(clean: str) -> str:
    """Return clean HTML in which a line feed that begins a ``pre`` is there twice, since a parser drops the first."""
    return _PRE.sub(r"\1\n\n", clean) if "\n" in clean else clean


def text_of(clean: str) -> str:
    """Return what clean HTML says, as one line: blocks are apart, and what is within a word or a sentence is not."""
    apart = _TAG.sub(lambda tag: "" if tag[1] in _UNBROKEN else " ", clean)
    return " ".join(html.unescape(apart).split())
