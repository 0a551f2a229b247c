"""validation, rich text under attack: what a browser would run never comes out, however it is written."""

import re
from html.parser import HTMLParser
from itertools import product

import pytest
from django.conf import settings

from apps.practices.validation.text import UncleanText, _cleaner, clean_html, clean_plain

# By what they try: parsers that disagree (mXSS), schemes in disguise, elements of other languages, styles, sources, frames.
ATTACKS = (
    "<script>alert(1)</script>", "<SCRIPT/SRC=//evil></SCRIPT>", "<scr<script>ipt>alert(1)</scr</script>ipt>", "<script",
    "</script><img src=x",
    "<img src=x onerror=alert(1)>", "<img/src=x/onerror=alert(1)>", "<img src='x' onerror\n=\nalert(1)",
    "<b onmouseover=alert(1)>x</b>",
    "<a href=javascript:alert(1)>x</a>", "<a href='java\tscript:alert(1)'>x</a>", "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>", "<a href=' \u00a0javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt&colon;alert(1)'>x</a>",
    "<a href='vbscript:x'>x</a>", "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<a href='blob:https://x/y'>x</a>", "<a href='file:///etc/passwd'>x</a>",
    "<a href='https://x' target=_blank ping=//evil>x</a>",
    "<svg><script>alert(1)</script></svg>", "<svg/onload=alert(1)>", "<svg><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<p style='background:url(javascript:alert(1))'>x</p>",
    "<style>@import '//evil';</style>",
    "<img srcset='//evil 1x, javascript:alert(1) 2x'>", "<picture><source srcset=//evil></picture>",
    "<video src=x onerror=alert(1)></video>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>", "<object data=//evil></object>", "<embed src=//evil>",
    "<base href=//evil>", "<link rel=stylesheet href=//evil>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "<form action=//evil><input name=password><button formaction=javascript:x>y</button></form>",
    "<template><img src=x onerror=alert(1)></template>", "<details open ontoggle=alert(1)>x",
    "<select><style></select><img src=x onerror=alert(1)></style>",
    "<textarea></textarea><img src=x onerror=alert(1)>", "<title><img title='</title><img src=x onerror=alert(1)>'>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<![CDATA[<img src=x onerror=alert(1)>]]>", "<!--><img src=x onerror=alert(1)>-->",
    "<?php echo 1 ?><img src=x onerror=alert(1)>", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<p id=location name=cookie class=x>clobbered</p>",
    "<td><table><b><p><a>" * 20, "<b><i></b></i>" * 20, "<a href=x><a href=y><a href='javascript:z'>",
    "<p title='\"><img src=x onerror=alert(1)>'>x</p>",
    "<a href='https://x' rel=opener>x</a>", "<img src=x alt='`onerror=alert(1)'>",
    "<a href=\"https://x/' onclick='alert(1)\">x</a>", "<plaintext><script>alert(1)</script>",
)  # fmt: skip


class Found(HTMLParser):
    """Reads HTML with another parser than the one that cleaned it, and keeps every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl!r}")


@pytest.mark.parametrize("attack", ATTACKS)
def test_active_html_is_removed(attack: str) -> None:
    for html in (attack, f"<p>{attack}</p>", attack * 2, f"<table><tr><td>{attack}"):
        try:
            clean = clean_html(html)
        except UncleanText:
            continue
        assert clean_html(clean) == clean
        for tag, attributes in Found(clean).tags:
            assert tag in settings.VALIDATION_HTML_TAGS
            allowed = settings.VALIDATION_HTML_ATTRIBUTES
            assert set(attributes) <= allowed["*"] | allowed.get(tag, set()) | ({"rel"} if tag == "a" else set()), clean
            for name in {"href", "src"} & set(attributes):
                scheme = re.match(r"[\x00-\x20]*([a-z][a-z0-9+.-]*):", attributes[name] or "", re.IGNORECASE)
                assert scheme is None or scheme[1].lower() in settings.VALIDATION_URL_SCHEMES, clean
            if tag == "a":
                assert attributes["rel"] == "nofollow noopener noreferrer"


def test_harmless_html_next_to_attacks_is_kept() -> None:
    assert clean_html("<p>Kept</p><script>x</script><img src=a.png onerror=y>") == '<p>Kept</p><img src="a.png">'


def test_text_that_is_not_parsed_is_what_a_parser_would_write() -> None:
    """Texts without whole tags skip the parser. Every short one of the pieces that matter is what nh3 makes of it."""
    cleaner = _cleaner()
    pieces = (
        *("a", " ", "\n", "<", ">", "&", ";", "lt", "&amp;", "&nbsp;", "\xa0", "\ufeff", "é", '"', "\u2028", "\u0338"),
        *("/", "!--", "?", "<b", "</b", "#", "1", "&not", "&rarr;", "&rarr", "='"),
    )
    for text in map("".join, product(pieces, repeat=3)):
        try:
            cleaned = clean_html(text)
        except UncleanText:
            cleaned = None
        try:
            parsed = clean_plain(text, multiline=True)
            for _ in range(4):
                parsed = clean_plain(cleaner.clean(parsed), multiline=True)
        except UncleanText:
            parsed = None
        assert cleaned == parsed, repr(text)
