"""Cleaning text and HTML, and CSV that runs nothing: pure functions, attacked by hypothesis and by hand."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.practices.validation.csv import csv_row, neutralise
from apps.practices.validation.text import UncleanText, clean_html, clean_plain

# Any text at all: lone surrogates, NUL, marks that combine, controls.
ANY = st.text(st.characters(), max_size=60)
# Pieces that meet in markup in ways nobody writes.
MARKUP = st.lists(
    st.sampled_from(
        [
            "<b>",
            "</b>",
            "<script>",
            "</script>",
            "<a href='",
            "javascript:",
            "https://x/",
            "'>",
            "<!--",
            "-->",
            "&lt;",
            "<svg>",
            "<math>",
            "<style>",
            "<p",
            " onclick=x",
            ">",
            "&#x202e;",
            "&#0;",
            "&#x338;",
            "<img src=x onerror=y>",
            "<table>",
            "<td>",
            "]]>",
            "<![CDATA[",
            "<noscript>",
            "<title>",
            "`",
            "é",
            '"',
            "e\u0301",
            "\u0338",
            "\x00",
            "\r\n",
            " ",
        ]
    ),
    max_size=12,
).map("".join)


@given(ANY, st.booleans())
def test_plain_text_is_clean_or_refused(text: str, multiline: bool) -> None:
    try:
        clean = clean_plain(text, multiline=multiline)
    except UncleanText:
        return
    assert clean_plain(clean, multiline=multiline) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == clean.strip()
    allowed = {"\n", "\t"} if multiline else set()
    assert not [c for c in clean if unicodedata.category(c) in {"Cc", "Cs"} and c not in allowed]
    clean.encode()


@given(st.text(st.characters(categories=["Lu", "Ll", "Nd", "Po", "Sm", "So"], max_codepoint=0xFFFF), max_size=80))
def test_clean_plain_text_is_unchanged(text: str) -> None:
    text = unicodedata.normalize("NFC", text).strip()
    assert clean_plain(text) == text


@given(st.one_of(ANY, MARKUP))
def test_html_is_clean_or_refused(text: str) -> None:
    try:
        clean = clean_html(text)
    except UncleanText:
        return
    assert clean_html(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    lowered = clean.lower()
    assert "<script" not in lowered
    assert "<style" not in lowered
    assert "<svg" not in lowered
    assert 'href="javascript:' not in lowered
    clean.encode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\x00b", "nul"),
        ("a\ud800", "surrogate"),
        ("a\u202eb", "bidi"),
        ("a\u2066b", "bidi"),
        ("a\x07b", "control"),
        ("a\x85b", "control"),
        ("a\nb", "control"),
        ("a\u2028b", "control"),
    ],
)
def test_plain_text_refuses(text: str, code: str) -> None:
    with pytest.raises(UncleanText) as refused:
        clean_plain(text)
    assert refused.value.code == code


def test_plain_text_accepts_ordinary_text() -> None:
    assert clean_plain("  e\u0301te\u0301 ") == "\u00e9t\u00e9"
    assert clean_plain("one\r\ntwo\rthree\u2028four\tend", multiline=True) == "one\ntwo\nthree\nfour\tend"
    assert clean_plain("שלום\u200f!") == "שלום\u200f!"  # the mark that plain right-to-left text needs
    assert clean_plain("🏴\U000e0067\U000e0062\U000e007f") == "🏴\U000e0067\U000e0062\U000e007f"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain words", "plain words"),
        ("<p>Hi <b>you</b></p>", "<p>Hi <b>you</b></p>"),
        ("<script>alert(1)</script>ok", "ok"),
        ("<p onclick=alert(1)>x</p>", "<p>x</p>"),
        ("<a href='javascript:alert(1)'>x</a>", '<a rel="nofollow noopener noreferrer">x</a>'),
        (
            "<a href='https://example.com/'>x</a>",
            '<a href="https://example.com/" rel="nofollow noopener noreferrer">x</a>',
        ),
        ("<iframe src=//evil></iframe>left", "left"),
        ("<b>&#x338;</b>", None),  # composes with the tag's own '>': only that it stays harmless and stable matters
        ("<!-- secret -->x", "x"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
    ],
)
def test_html_keeps_what_authors_need(text: str, clean: str | None) -> None:
    once = clean_html(text)
    assert clean is None or once == clean
    assert clean_html(once) == once


def test_controls_in_html_entities_are_refused() -> None:
    with pytest.raises(UncleanText) as refused:
        clean_html("<p>&#x202e;txt.exe</p>")
    assert refused.value.code == "bidi"


@pytest.mark.parametrize("trigger", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", " =1"])
def test_csv_formulas_are_neutralised(trigger: str) -> None:
    assert neutralise(trigger) == f"'{trigger}"


def test_csv_rows_read_back() -> None:
    cells = ["=cmd", 'say "hi"', "a;=b,c", "two\nlines", -5, None, "plain"]
    line = csv_row(cells)
    assert line.endswith(b"\r\n")
    assert line.startswith(b'"\'=cmd",')
    (row,) = csv.reader(io.StringIO(line.decode(), newline=""))
    assert row == ["'=cmd", 'say "hi"', "a;=b,c", "two\nlines", "-5", "", "plain"]


EMBEDDING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # UAX #9, table 4: explicit formatting


@pytest.mark.parametrize("multiline", [False, True])
def test_every_forbidden_character_is_refused(multiline: bool) -> None:
    """By the categories of Unicode: control characters and surrogates, and what its bidirectional algorithm embeds with."""
    lines = "\t\n\r\u2028\u2029"
    wrong = set()
    for character in map(chr, range(0x10000)):
        is_refused = (
            unicodedata.category(character) in {"Cc", "Cs"} or unicodedata.bidirectional(character) in EMBEDDING
        )
        if character in lines:
            is_refused = not multiline
        try:
            clean_plain(f"a{character}b", multiline=multiline)
        except UncleanText:
            if not is_refused:
                wrong.add(character)
        else:
            if is_refused:
                wrong.add(character)
    assert not wrong
