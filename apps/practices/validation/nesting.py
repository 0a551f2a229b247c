"""The nesting depth of HTML, found in one linear pass before it is parsed.

The cost of a parser grows with the number of open elements times the tags that search them, and with the formatting elements
that each following block opens again (HTML, 13.2.4.3). Both are limited here.
"""

import re
from collections.abc import Iterator

DEPTH = 100  # open elements; ordinary pages have about 20
_FEW_TAGS = 30  # cannot be deep
_REOPENED = 1_000  # formatting elements that are opened again, in addition to one for each character of the text
_ANY = "*"  # an element without a name, which no tag closes

_TOO_DEEP = f"The HTML is nested deeper than {DEPTH} elements. Close open elements, or nest fewer."
_TOO_OPEN = "Too many formatting elements are left open. Close each before the next block."

# The tokenizer of HTML, 13.2.5.6 to 13.2.5.39: quotes matter only after "=". Possessive, so it is linear.
_TAG = re.compile(
    r"<(/?)([a-zA-Z][^\t\n\f\r />]*+)"
    r"(?:[\t\n\f\r /]++"
    r"|[^\t\n\f\r />][^\t\n\f\r />=]*+"
    r"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+)?+)?+"
    r")*+>"
)
_START = re.compile(r"<[!?/a-zA-Z]")
_NO_TAG = re.compile(r"<!--(?:-?>|(?s:.*?)(?:--!?>|\Z))|<[!?][^>]*+>?|</(?![a-zA-Z])[^>]*+>?")
_OPENING = re.compile(
    r"<(?!(?:br|hr|img|embed|meta)[\s/>])[a-z]", re.IGNORECASE
)  # of what may stay open, in any context

# fmt: off
_VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link", "meta",
    "param", "source", "track", "wbr",
})
_FORMATTING = frozenset({
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
})
INLINE = _FORMATTING | {
    "abbr", "acronym", "bdi", "bdo", "cite", "data", "del", "dfn", "ins", "kbd", "label", "mark", "q", "ruby", "samp",
    "span", "sub", "sup", "time", "var",
}
_IMPLIED = frozenset({"dd", "dt", "li", "optgroup", "option", "p", "rb", "rp", "rt", "rtc"})  # may be left unclosed
_CLOSES_P = frozenset({
    "address", "article", "aside", "blockquote", "center", "details", "dialog", "dd", "dir", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "li", "listing",
    "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
# fmt: on
_ROW = frozenset({"td", "th", "tr"})
# The innermost elements that an opening tag ends, as in a parser.
_ENDS: dict[str, frozenset[str]] = {
    "li": frozenset({"li"}),
    **dict.fromkeys(("dd", "dt"), frozenset({"dd", "dt"})),
    **dict.fromkeys(("td", "th"), frozenset({"td", "th"})),
    "tr": _ROW,
    **dict.fromkeys(("tbody", "thead", "tfoot"), _ROW | {"tbody", "thead", "tfoot", "caption", "colgroup"}),
}
# Elements whose content is text, up to their end tag.
_RAW = frozenset({"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"})
# After one of these other rules may apply: all opening tags count, and no closing tag.
_OTHER_RULES = frozenset({"frameset", "math", "noscript", "plaintext", "select", "svg", "template"})


def nesting_fault(text: str) -> str | None:
    """Return why this HTML should not be parsed; None if it can be.

    The count is at least the number of elements that a parser would open, except for a few that tables imply: a closing tag
    ends at most one element, and only where a parser would find it.
    """
    if text.count("<") <= _FEW_TAGS:
        return None
    opened: list[str] = []
    formatting = reopened = 0
    for is_closing, name in _tags(text):
        if name not in _FORMATTING:
            reopened += formatting
        if is_closing:
            formatting -= _close(opened, name) and name in _FORMATTING
        else:
            _end_implied(opened, name)
            opened.append(name)
            formatting += name in _FORMATTING
        if len(opened) > DEPTH:
            return _TOO_DEEP
    return _TOO_OPEN if reopened > _REOPENED + len(text) else None


def _tags(text: str) -> Iterator[tuple[bool, str]]:
    """Yield for each tag whether it closes, and its name. Void elements and what a parser does not treat as a tag are skipped."""
    place = 0
    while start := _START.search(text, place):
        place = start.start()
        if not text[place + 1].isalpha() and (other := _NO_TAG.match(text, place)):
            place = other.end()
            continue
        tag = _TAG.match(text, place)
        if tag is None:
            return  # an unfinished tag contains all of the rest
        is_closing, name = bool(tag[1]), tag[2].lower()
        if name not in _VOID:
            yield is_closing, name
        end = tag.end() if is_closing or name not in _RAW else _end_of_raw(text, name, tag.end())
        if end is None or name in _OTHER_RULES:
            yield from ((False, _ANY) for _ in _OPENING.finditer(text, tag.end()))
            return
        place = end


def _end_of_raw(text: str, name: str, start: int) -> int | None:
    """Return where the text of a raw element ends; None if that is uncertain: a comment can hide the end of a script."""
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, start)
    return None if end is None or text.find("<!--", start, end.start()) >= 0 else end.start()


def _end_implied(opened: list[str], name: str) -> None:
    """Remove the innermost elements that an opening tag ends."""
    if name in _CLOSES_P and opened and opened[-1] == "p":
        opened.pop()
    ends = _ENDS.get(name, ())
    while opened and opened[-1] in ends:
        opened.pop()


def _close(opened: list[str], name: str) -> bool:
    """Remove the innermost element of a name where a parser would find it; return whether there was one."""
    through = INLINE if name in INLINE else INLINE | _IMPLIED
    for place in range(len(opened) - 1, -1, -1):
        if opened[place] == name:
            del opened[place]
            return True
        if opened[place] not in through:
            return False
    return False
