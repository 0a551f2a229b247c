"""Search each parser's worst input, and measure its cost in milliseconds of processor time per KB.

    python -m tools.benchmarks.inputs [--kilobytes 64] [--parser html] [--json]

Patterns are made of the pieces that a parser distinguishes: each alone, each pair, and many of one before as many of another.
Each is repeated to the given size and parsed, whether it is accepted or refused: all patterns at an eighth of the size, the
worst 40 at full size, and the worst five of these several times at both. `growth` is the power of the size with which the cost
grows: 1 is linear, 2 is quadratic.
"""

import argparse
import io
import json
import math
import os
import re
import string
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, product
from operator import itemgetter
from typing import Any

Parse = Callable[[str], object]
Clock = Callable[[], float]
Pattern = tuple[str, Callable[[int], str]]
KILOBYTE = 1024
_PARTS = 8  # the first round, and the smaller size for growth, use this fraction of the size


@dataclass(frozen=True, kw_only=True)
class Parser:
    """A parser. ``largest`` is the most characters that reach it, ``pieces`` what it distinguishes, ``around`` the frame.

    Each ``#`` in a piece becomes the next number, written with ``digits``.
    """

    parse: Parse
    pieces: tuple[str, ...]
    largest: int
    around: str = "{}"
    digits: str = string.digits

    def text(self, pattern: str) -> str:
        """Return the text to parse."""
        numbers = count()
        return self.around.format(re.sub("#", lambda _: self._number(next(numbers)), pattern))

    def _number(self, number: int) -> str:
        rest, digit = divmod(number, len(self.digits))
        return self._number(rest) + self.digits[digit] if rest else self.digits[digit]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst pattern of a parser."""

    pattern: str
    kilobytes: float
    milliseconds_per_kilobyte: float
    growth: float


def parsers() -> dict[str, Parser]:
    """Return the parsers by name. Django must be set up."""
    from django.core.exceptions import SuspiciousOperation
    from django.http import QueryDict, parse_cookie
    from django.test import RequestFactory
    from rest_framework.exceptions import APIException
    from rest_framework.negotiation import DefaultContentNegotiation
    from rest_framework.request import Request

    from apps.jobs.imports import Columns, ImportSpec
    from apps.jobs.imports.formats import IMPORT_FORMATS
    from apps.jobs.imports.run import batches
    from apps.jobs.imports.validation import RowChecker
    from apps.practices.errors import Problem
    from apps.practices.mechanisms.json import FastJSONRenderer
    from apps.practices.validation.dates import StrictDateTimeField
    from apps.practices.validation.fields import BoundedListField, CleanSlugField, PlainTextField, RichTextField
    from apps.practices.validation.parsers import BoundedJSONParser, BoundedMultiPartParser
    from apps.practices.validation.query import query_parameters
    from apps.practices.validation.serializers import StrictSerializer
    from apps.practices.validation.text import UncleanText, clean_html, clean_plain, plain_from_html

    refusals = (Problem, APIException, SuspiciousOperation, UncleanText)
    factory = RequestFactory()

    class Row(StrictSerializer):
        """A resource with a field of each costly kind."""

        title = PlainTextField(max_length=200)
        body = RichTextField(max_length=100_000)
        tags = BoundedListField(child=PlainTextField(max_length=40), max_length=20, required=False)
        published_at = StrictDateTimeField(allow_null=True, default=None)
        slug = CleanSlugField(max_length=120, required=False)

    row = Row()
    columns = Columns(known=("title", "body", "tags", "published_at", "slug"), required=("title", "body"))
    spec = ImportSpec(columns=columns, serializer=row, key=itemgetter("title"), upsert=lambda **_: {})
    search = PlainTextField(max_length=200)

    def refused_or_not(parse: Parse) -> Parse:
        def run(text: str) -> None:
            with suppress(*refusals):
                parse(text)

        return run

    def imported(text: str, form: str) -> None:
        rows = IMPORT_FORMATS[form](io.BytesIO(text.encode()), columns)
        checker = RowChecker(rows, spec)
        for batch in batches(rows):
            checker.check_batch(batch)

    def multipart(text: str) -> object:
        request = factory.post("/", text.encode(), content_type="multipart/form-data; boundary=b")
        return BoundedMultiPartParser().parse(request, request.content_type, {"request": request})

    def accepted(text: str) -> object:
        return DefaultContentNegotiation().select_renderer(
            Request(factory.get("/", HTTP_ACCEPT=text)), [FastJSONRenderer()]
        )

    described = {
        "html": Parser(
            parse=lambda text: plain_from_html(clean_html(text)),
            pieces=(
                *(
                    f"<{n}>"
                    for n in ["ul", "li", "p", "b", "a", "table", "td", "div", "pre", "script", "svg", "select"]
                ),
                *(f"</{n}>" for n in ["ul", "p", "b", "a", "table", "td", "div", "pre", "script"]),
                "<b 1='",
                "'>",
                "<!--",
                "-->",
                "&amp;",
                "&#769;",
                '<a title="',
                "x",
                " ",
                "é",
                "<",
                "\n",
            ),
            largest=100_000,
        ),
        "plain text": Parser(
            parse=clean_plain, pieces=("x", " ", "é", "\u0301", "\u0f75", "\ufb1d", "한", "\ufdfa"), largest=100_000
        ),
        "JSON body": Parser(
            parse=lambda text: row.run_validation(BoundedJSONParser().parse(io.BytesIO(text.encode()))),
            pieces=("[", "]", "{", "}", '{"a":', '"k":1,', "1,", '"\\u0041",', "1e9,", "9", "\\\\", '"', "[],", " "),
            largest=KILOBYTE**2,
        ),
        "JSON list in a body": Parser(
            parse=lambda text: row.run_validation(BoundedJSONParser().parse(io.BytesIO(text.encode()))),
            pieces=('"a",', "1,", "[],", "{},", '{"a":1},', '"é",', "null,", '"\\u0041",'),
            largest=KILOBYTE**2,
            around='{{"title":"a","body":"b","tags":[{}1]}}',
        ),
        "NDJSON": Parser(
            parse=lambda text: imported(text, "ndjson"),
            pieces=("{}\n", '{"a":1}\n', "[", "{", "1\n", "\n", '"', '{"title":"a","body":"b"}\n'),
            largest=KILOBYTE**2,
        ),
        "CSV": Parser(
            parse=lambda text: imported(text, "csv"),
            pieces=("a,b\n", ",\n", '"', '""', "\n", "x", ",", "é,<b>\n"),
            largest=KILOBYTE**2,
            around="title,body\n{}",
        ),
        "NDJSON, no two rows alike": Parser(
            parse=lambda text: imported(text, "ndjson"),
            pieces=('{"a":#}\n', '{"#":1}\n', '{"#}\n', '{"title":#}\n', '{"title":"#","body":"b"}\n', "#\n"),
            largest=8 * KILOBYTE,
        ),
        "CSV, no two rows alike": Parser(
            parse=lambda text: imported(text, "csv"),
            pieces=(
                *("#,\n", ",#\n", "#,b\n", "é#,é\n", "\x01#,b\n", "\x7f#,\x7f\n", "#,<b>\n", "b,#<\n"),
                *(",<#\n", "b,<#\n", "b,<b>#\n", ",<b>#\n", "b,</#>\n", "b,&#\n", "b,&#;\n", "b,&#1#\n"),
            ),
            largest=8 * KILOBYTE,
            around="title,body\n{}",
            digits=string.ascii_letters + string.digits,
        ),
        "CSV, all columns": Parser(
            parse=lambda text: imported(text, "csv"),
            pieces=tuple(
                ",".join(cells) + "\n"
                for cells in (
                    *([cell] * 5 for cell in ("#", "\x01#", "é#", "$#", "<#", "<b>#", "&#", " ")),
                    *(["b", "b", *cells] for cells in (["#", "", ""], ["", "#", ""], ["", "", "#"], ["", "", "$#"])),
                )
            ),
            largest=8 * KILOBYTE,
            around="title,body,tags,published_at,slug\n{}",
            digits=string.ascii_letters + string.digits,
        ),
        "multipart": Parser(
            parse=multipart,
            pieces=(
                "--b\r\n",
                "\r\n",
                'Content-Disposition: form-data; name="a"\r\n\r\n',
                "x",
                "--b--",
                "-",
                "a: b\r\n",
                ";",
                '"',
            ),
            largest=KILOBYTE**2,
        ),
        "query string": Parser(
            parse=lambda text: query_parameters(factory.get(f"/?{text}"), {}),
            pieces=("a=1&", "a&", "=", "&", "%C3%A9", "%00", "+", "x", ";"),
            largest=8_000,
        ),
        "search": Parser(
            parse=lambda text: query_parameters(factory.get("/", {"search": text}), {"search": search}),
            pieces=("a ", '"', "or ", "-", "é", "\u0301", "<", ":*"),
            largest=8_000,
        ),
        "cookies": Parser(parse=parse_cookie, pieces=("a=1;", "a", ";", '"', "\\", "=", ",", " ", "$"), largest=8_000),
        "Accept": Parser(
            parse=accepted, pieces=("a/b,", "*/*,", ";q=1", ";", ",", '"', "\\", "=", " ", "/"), largest=8_000
        ),
        "form": Parser(parse=QueryDict, pieces=("a=1&", "a&", "=", "&", "%C3%A9", "x"), largest=KILOBYTE**2),
    }
    return {name: replace(one, parse=refused_or_not(one.parse)) for name, one in described.items()}


def patterns(pieces: tuple[str, ...]) -> Iterator[Pattern]:
    """Yield each pattern's name, and the function that makes it with about a given number of characters."""
    for piece in pieces:
        yield f"{piece} …", lambda size, piece=piece: piece * (size // len(piece))
    for one, two in product(pieces, repeat=2):
        if one != two:
            yield f"{one}{two} …", lambda size, both=one + two: both * (size // len(both))
            yield (
                f"{one} … {two} …",
                lambda size, one=one, two=two: one * (size // 2 // len(one)) + two * (size // 2 // len(two)),
            )


def cost(parser: Parser, text: str, *, tries: int = 3, clock: Clock = time.process_time) -> float:
    """Return the seconds of the best of some tries, by ``clock`` (processor time)."""
    text = parser.text(text)
    best = math.inf
    for _ in range(tries):
        started = clock()
        parser.parse(text)
        best = min(best, clock() - started)
    return best


def worst(parser: Parser, *, size: int, clock: Clock = time.process_time) -> Worst:
    """Search for the most expensive pattern and measure it."""
    size = min(size, parser.largest)
    part = size // _PARTS

    def once(characters: int) -> Callable[[Pattern], float]:
        return lambda pattern: cost(parser, pattern[1](characters), tries=1, clock=clock)

    chosen = sorted(patterns(parser.pieces), key=once(part), reverse=True)[:40]
    chosen = sorted(chosen, key=once(size), reverse=True)[
        :5
    ]  # what costs much while it is short may be refused when long
    found = []
    for name, make in chosen:
        small, full = (cost(parser, make(characters), clock=clock) for characters in (part, size))
        kilobytes = len(parser.text(make(size)).encode()) / KILOBYTE
        found.append(
            Worst(
                pattern=name,
                kilobytes=round(kilobytes, 1),
                milliseconds_per_kilobyte=round(full * 1000 / kilobytes, 4),
                growth=round(math.log(max(full, 1e-6) / max(small, 1e-6), _PARTS), 1),
            )
        )
    return max(found, key=lambda one: one.milliseconds_per_kilobyte)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kilobytes", type=int, default=64)
    arguments.add_argument("--parser", help="only this one")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    os.environ.setdefault("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")
    import django

    django.setup()
    found: dict[str, Any] = {
        name: worst(parser, size=options.kilobytes * KILOBYTE)
        for name, parser in parsers().items()
        if options.parser in (None, name)
    }
    if options.json:
        print(json.dumps({name: vars(one) for name, one in found.items()}))
        return
    print("| parser | worst of the patterns | KB | ms per KB | growth |\n|---|---|---|---|---|")
    for name, one in found.items():
        shown = json.dumps(one.pattern, ensure_ascii=False).replace("|", "\\|")[1:-1]
        print(f"| {name} | `{shown}` | {one.kilobytes} | {one.milliseconds_per_kilobyte} | {one.growth} |")


if __name__ == "__main__":
    main()
