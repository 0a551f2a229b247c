"""Word, tag and month statistics over every public article: heavy enough that no request should wait for it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from apps.articles.models import Article
from apps.jobs.context import JobContext

TOP = 100
CHUNK_ROWS = 100  # a body may have 100,000 characters, and a fetch is no checkpoint
SHORTEST_WORD = 3

_MARKUP = re.compile(r"<[^>]*>")
_WORD = re.compile(rf"[^\W\d_]{{{SHORTEST_WORD},}}")


def article_report(context: JobContext, *, now: datetime) -> dict[str, Any]:
    """Count words, tags and months of the articles that are public now.

    Rows come through a server-side cursor, so that memory holds the counts and CHUNK_ROWS articles.
    """
    public = Article.objects.filter(published_at__lte=now)
    total = public.count()
    words: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    months: Counter[str] = Counter()
    words_by_month: Counter[str] = Counter()
    rows = public.values_list("title", "body", "tags", "published_at").iterator(chunk_size=CHUNK_ROWS)
    done = 0
    for done, (title, body, row_tags, published_at) in enumerate(rows, 1):
        found = list(words_of(title, body))
        month = f"{published_at:%Y-%m}"
        words.update(found)
        tags.update(row_tags)
        months[month] += 1
        words_by_month[month] += len(found)
        context.progress(done=done, total=total)
    return {
        "articles": done,
        "words": {"total": words.total(), "distinct": len(words), "top": _top(words, "word")},
        "tags": {"total": tags.total(), "distinct": len(tags), "top": _top(tags, "tag")},
        "months": [
            {"month": month, "articles": count, "words": words_by_month[month]}
            for month, count in sorted(months.items())
        ],
    }


def words_of(title: str, body: str) -> Iterator[str]:
    """Give the words of an article, lower-case, without markup; at least SHORTEST_WORD letters each."""
    text = f"{title} {html.unescape(_MARKUP.sub(' ', body))}"
    return (match.group() for match in _WORD.finditer(text.lower()))


def _top(counts: Counter[str], name: str) -> list[dict[str, Any]]:
    """Give the most frequent ones; equal counts in alphabetical order, so that two reports of one state are equal."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return [{name: key, "count": count} for key, count in ranked]
