"""Rich text that nests deep is refused before a parser sees it; what ordinary pages do, closed or not, is kept."""

from __future__ import annotations

import re

import nh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.practices.validation.nesting import DEPTH, nesting_fault
from apps.practices.validation.text import UncleanText, clean_html, plain_from_html

# Each would nest a parser as deep as it is long, were a closing tag believed that the parser does not see or does not obey.
NINETY = "<div>" * 90
DEEP = {
    "lists": "<ul><li>" * 4_999,
    "closed": "<div>" * 101 + "</div>" * 101,
    **{
        name: (NINETY + before + NINETY.replace("<", "</") + after) * 3
        for name, before, after in (
            ("in a comment", "<!--", "-->"),
            ("after an abrupt comment", "<!--><!--", "-->"),
            ("in an attribute", '<img alt="', '">'),
            ("in a title", "<title>", "</title>"),
            ("in a script", "<script>", "</script>"),
            ("in a script whose end is hidden", "<script><!--<script></script>", "--></script>"),
            ("in foreign content", "<svg><![CDATA[>", "]]>"),
            ("in a foreign title", "<svg><title>", ""),
            ("out of scope", "<table><td>", ""),
        )
    },
    "inline, out of scope": ("<span>" * 90 + "<li>" + "</span>" * 90) * 3,
    "self-closed": "<div/>" * 200,
    "of another name": "<div></span>" * 200,
    "in a selection": "<select></select><div>" * 200,
    "of headings": "<h2><h3></h3><li><dd></h2>" * 200,
    "of paragraphs": "<p><b><div></div><span></p>" * 200,
    "upper case": "<DIV>" * 200,
    "formatting": "".join(f"<b {n}>" for n in range(200)),
    "formatting that is opened again": "".join(f"<b {n}>" for n in range(90)) + "<p>a" * 2_000,
}
KEPT = {
    "99 levels": "<div>" * 99 + "x" + "</div>" * 99,
    "paragraphs left open": "<p>one<br>two" * 1_000,
    "items left open": "<ul>" + "<li>one<p>two" * 1_000 + "</ul>",
    "rows left open": "<table>" + "<tr><td>a<td>b" * 1_000 + "</table>",
    "terms left open": "<dl>" + "<dt>a<dd>b" * 1_000 + "</dl>",
    "paragraphs in blocks, left open": "<div><p>one</div>" * 1_000,
    "images": "<p><img src='/a'/><br/><hr/></p>" * 1_000,
    "crossed tags": "<p><b><i>x</b></i></p>" * 1_000,
    "scripts": "<p>a</p><script>if (a<b && c>d) { x('<div>') }</script><style>p > a { }</style>" * 300,
    "frames": "<p>a</p><iframe src='/x'></iframe>" * 300,
    "no tags": "a < b <3 </ <! " * 1_000,
    "comments": "<!-- <div> --><p>x</p>" * 1_000,
    "arrows in attributes": "<p><a title='a > b' href='/x'>x</a></p>" * 1_000,
}
NAMES = ("div", "ul", "li", "dd", "p", "b", "a", "span", "table", "tr", "td", "h2", "h3", "button", "form")
NAMES += ("svg", "g", "title", "script", "select", "object", "template", "caption")
PIECES = [
    *(f"<{name}>" for name in NAMES),
    *(f"</{name}>" for name in NAMES),
    "<!--",
    "-->",
    "<!-->",
    "<a title='",
    "'>",
    "x",
]
PARSER = nh3.Cleaner(tags=set(NAMES) - {"script"}, clean_content_tags=set())


def depth(html: str) -> int:
    """Return the depth of well-formed HTML."""
    now = deepest = 0
    for closing in re.findall(r"<(/?)\w+[^>]*>", html):
        now += -1 if closing else 1
        deepest = max(deepest, now)
    return deepest


@pytest.mark.parametrize("html", DEEP.values(), ids=DEEP)
def test_deep_html_is_refused(html: str) -> None:
    with pytest.raises(UncleanText) as refused:
        clean_html(html)
    assert refused.value.code == "html"


@pytest.mark.parametrize("html", KEPT.values(), ids=KEPT)
def test_ordinary_html_is_kept(html: str) -> None:
    assert nesting_fault(html) is None
    clean_html(html)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=10).map("".join))
@settings(derandomize=True, deadline=None, database=None, max_examples=500)
def test_depth_is_never_underestimated(pattern: str) -> None:
    """Whatever is let through, a parser nests by no more than a factor: what tables imply is not counted."""
    html = pattern * 300
    if nesting_fault(html) is None:
        assert depth(PARSER.clean(html)) <= 3 * DEPTH


@pytest.mark.parametrize("feeds", range(9))
def test_leading_line_feeds_are_kept(feeds: int) -> None:
    """A parser drops the first line feed of a pre (HTML, 13.2.6.4.7), so that one was lost with each pass."""
    begin = "\n" * feeds
    clean = clean_html(f"<pre>{begin}x</pre>")
    assert clean == f"<pre>{begin if feeds > 1 else ''}x</pre>"
    assert clean_html(clean) == clean
    titled = clean_html(f'<pre title="<pre>\n&gt;">{begin}x</pre>')
    assert clean_html(titled) == titled


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('See <a href="/x">this</a>, <em>now</em>.', "See this, now."),
        ("H<sub>2</sub>O and e<sup>x</sup>", "H2O and ex"),
        ("<p>One</p><p>two</p>three", "One two three"),
        ("a<br>b<hr>c", "a b c"),
        ("<ul><li>a</li><li>b</li></ul>", "a b"),
        ("<table><tbody><tr><td>a</td><td>b</td></tr></tbody></table>", "a b"),
        ('smil<img alt="x">e &amp;amp; &lt;b&gt;\n\n x', "smile &amp; <b> x"),
        ("<p>e<b>\u0301</b></p>", "\u00e9"),
    ],
)
def test_text_of_blocks_is_separated(html: str, text: str) -> None:
    assert plain_from_html(clean_html(html)) == text


def test_marks_separated_by_tags_are_accepted_as_text() -> None:
    marks = "\u0301" * 20
    assert plain_from_html(clean_html("a" + f"<b>{marks}</b>" * 5))
