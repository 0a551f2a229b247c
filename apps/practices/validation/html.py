"""Clean HTML after the parser: written so that parsing it again changes nothing, and read as text."""

import html
import re

from apps.practices.validation.nesting import INLINE

_PRE = re.compile(r"(<(?:pre|textarea|listing)(?: [^>]*)?>)\n")
# Of clean HTML, in whose attributes < and > are escaped: the tags that are within a word or a sentence, and all.
_UNBROKEN = re.compile(rf"</?(?:{'|'.join(sorted(INLINE | {'img', 'wbr'}))})(?![a-z0-9])[^>]*>")
_TAG = re.compile(r"</?[a-z0-9][^>]*>")


def keep_first_line_feed(clean: str) -> str:
    """Return clean HTML in which a line feed that begins a ``pre`` is there twice, since a parser drops the first."""
    return _PRE.sub(r"\1\n\n", clean) if "\n" in clean else clean


def text_of(clean: str) -> str:
    """Return what clean HTML says, as one line: blocks are apart, and what is within a word or a sentence is not."""
    apart = _TAG.sub(" ", _UNBROKEN.sub("", clean))
    return " ".join(html.unescape(apart).split())
