"""How deep HTML nests, found in one pass of linear cost before a parser sees it.

A parser's cost grows with the depth of the open elements times the tags that look through them, and with the formatting
elements that each following block opens again (HTML, 13.2.4.3). Both are bounded here.
"""

import re
from collections.abc import Iterator

DEPTH = 100  # open elements; ordinary pages have some 20
_FEW_TAGS = 30  # cannot be deep
_REOPENED = 1_000  # formatting elements opened again, beyond one a character of the text
_ANY = "*"  # an element of no name, which nothing closes

_TOO_DEEP = f"The HTML nests deeper than {DEPTH} elements. Close those that are open, or nest fewer."
_TOO_OPEN = "The HTML leaves formatting elements open, which each block after them opens again. Close them."

# The tokenizer of HTML, 13.2.5.6 to 13.2.5.39: quotes mean something after "=" alone. Possessive, hence linear.
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
# What an opening tag ends, when it is the innermost element: as the parser does it.
_ENDS: dict[str, frozenset[str]] = {
    "li": frozenset({"li"}),
    **dict.fromkeys(("dd", "dt"), frozenset({"dd", "dt"})),
    **dict.fromkeys(("td", "th"), frozenset({"td", "th"})),
    "tr": _ROW,
    **dict.fromkeys(("tbody", "thead", "tfoot"), _ROW | {"tbody", "thead", "tfoot", "caption", "colgroup"}),
}
# Their content is text, up to their own end.
_RAW = frozenset({"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"})
# From here on other rules may hold: every opening tag counts, and no closing one.
_OTHER_RULES = frozenset({"frameset", "math", "noscript", "plaintext", "select", "svg", "template"})


def nesting_fault(text: str) -> str | None:
    """Return why a parser should not see this HTML, else None.

    It counts no less than a parser would open, but for a few elements that tables imply: a closing tag ends at most the one
    element that it names, and only where a parser would find it. What is left unclosed counts on.
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
    """Give whether each tag closes, and its name; void elements are left out, and so is what is no tag to a parser."""
    place = 0
    while start := _START.search(text, place):
        place = start.start()
        if not text[place + 1].isalpha() and (other := _NO_TAG.match(text, place)):
            place = other.end()
            continue
        tag = _TAG.match(text, place)
        if tag is None:
            return  # a tag without an end takes all the rest with it
        is_closing, name = bool(tag[1]), tag[2].lower()
        if name not in _VOID:
            yield is_closing, name
        end = tag.end() if is_closing or name not in _RAW else _end_of_raw(text, name, tag.end())
        if end is None or name in _OTHER_RULES:
            yield from ((False, _ANY) for _ in _OPENING.finditer(text, tag.end()))
            return
        place = end


def _end_of_raw(text: str, name: str, start: int) -> int | None:
    """Return where the text that an element holds ends; None when that is not certain: a comment may hide a script's end."""
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, start)
    return None if end is None or text.find("<!--", start, end.start()) >= 0 else end.start()


def _end_implied(opened: list[str], name: str) -> None:
    """Take out the innermost elements that an opening tag ends."""
    if name in _CLOSES_P and opened and opened[-1] == "p":
        opened.pop()
    ends = _ENDS.get(name, ())
    while opened and opened[-1] in ends:
        opened.pop()


def _close(opened: list[str], name: str) -> bool:
    """Take out the innermost element of a name, where a parser would look for it; return whether there was one."""
    through = INLINE if name in INLINE else INLINE | _IMPLIED
    for place in range(len(opened) - 1, -1, -1):
        if opened[place] == name:
            del opened[place]
            return True
        if opened[place] not in through:
            return False
    return False
