"""What input may cost: no body within its bound takes time or memory by the square of its size."""

import io
import sys
import time
import tracemalloc
import unicodedata

import pytest
from rest_framework.exceptions import ValidationError

from apps.practices.errors import Malformed
from apps.practices.validation.fields import EmailAddressField
from apps.practices.validation.parsers import BoundedJSONParser, json_document
from apps.practices.validation.text import UncleanText, clean_html, clean_plain


def test_duplicate_names_are_found_in_linear_time() -> None:
    names = ",".join(f'"{number}":1' for number in range(30_000))
    started = time.process_time()
    with pytest.raises(Malformed, match='"twice" occurs twice'):
        json_document(f'{{{names},"twice":1,"twice":2}}'.encode())
    assert time.process_time() - started < 4  # comparing each with each took 17 s


def test_long_names_are_not_copied_for_each_member() -> None:
    document = f'{{"{"k" * 500_000}": [{",".join(["[]"] * 400)}]}}'.encode()
    tracemalloc.start()
    BoundedJSONParser().parse(io.BytesIO(document))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(document)


@pytest.mark.parametrize("mark", ["\u0301", "\u0327\u0301", "\u0f75"])
def test_too_many_combining_marks_are_refused(mark: str) -> None:
    """Normalising sorts a run of marks by insertion: a mebibyte of them is minutes in which no other thread runs."""
    assert clean_plain("a" + "\u0301" * 30)
    with pytest.raises(UncleanText) as refused:
        clean_plain("a" + mark * 31)
    assert refused.value.code == "marks"


def test_every_combining_mark_is_counted() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.combining(unicodedata.normalize("NFD", character)[0]):
            with pytest.raises(UncleanText):
                clean_plain("a" + character * 31)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<div>" * 10_001, id="depth"),
        pytest.param("<p>" + "</p>" * 20_000, id="closing tags"),
        # Each paragraph opens again whatever formatting was left open: 1,000 times 1,000 elements from 11 kB.
        pytest.param("<p>" + "".join(f"<b {n}>" for n in range(1000)) + "<p>a" * 1000, id="formatting"),
        pytest.param("<p>" + "".join(f"<FONT/{n}>" for n in range(1000)) + "<p>a" * 1000, id="formatting in disguise"),
        pytest.param("<p " + " ".join(f"a{n}" for n in range(70_000)) + ">", id="attributes"),
    ],
)
def test_html_that_is_expensive_to_parse_is_refused(text: str) -> None:
    with pytest.raises(UncleanText) as refused:
        clean_html(text)
    assert refused.value.code == "html"


def test_large_ordinary_html_is_kept() -> None:
    row = '<tr><td>1</td><td><a href="https://example.com/">two</a></td><td><b>three</b></td></tr>'
    page = clean_html(f"<table>{row * 1_000}</table>")
    assert page.count("<tr>") == 1_000


def test_address_length_is_checked_before_conversion() -> None:
    """The ASCII form of a domain takes some 20 microseconds a label."""
    started = time.process_time()
    with pytest.raises(ValidationError) as refused:
        EmailAddressField().run_validation("a@" + "é." * 300_000)
    assert time.process_time() - started < 2
    assert refused.value.get_codes() == ["max_length"]
