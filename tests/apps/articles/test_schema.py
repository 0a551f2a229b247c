"""The patterns in OpenAPI match the texts that the fields of an article accept."""

import re

from apps.operations.openapi import document_generate


def test_patterns_of_texts() -> None:
    document = document_generate()
    article = document["components"]["schemas"]["ArticleWriteRequest"]["properties"]
    patterns = {name: re.compile(article[name]["pattern"]) for name in ("title", "body", "slug")}
    tag = re.compile(article["tags"]["items"]["pattern"])
    assert all(one.search("a") and one.search(" a\n") and not one.search("a\x01") for one in (*patterns.values(), tag))
    assert not any(one.search(text) for one in (*patterns.values(), tag) for text in ("", " ", "\x85"))
    assert patterns["body"].search("a\nb")
    assert not patterns["title"].search("a\nb")
    assert not patterns["title"].search("\u200b")
    assert not tag.search("a,b")
    assert all(patterns["slug"].search(text) for text in ("é-1", "हिन्दी", "\u0645\u06cc\u200c\u062e", "½"))
    assert not any(patterns["slug"].search(text) for text in ("a b", "a\u00a9", "a\u00b8", "a\u00d7", "a\u2013b"))
    parameters = {one["name"]: one["schema"] for one in document["paths"]["/api/v1/articles"]["get"]["parameters"]}
    assert not re.search(parameters["search"]["pattern"], " ")
