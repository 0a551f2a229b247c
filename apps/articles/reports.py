"""Word, tag and month statistics of all public articles: too slow for a request, so a job computes them."""

import html
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from apps.articles.models import Article
from apps.jobs.context import JobContext

TOP = 100
CHUNK_ROWS = 100  # per fetch, during which the job cannot be stopped; a body may have 100,000 characters
SHORTEST_WORD = 3

_MARKUP = re.compile(r"<[^>]*>")
_WORD = re.compile(rf"[^\W\d_]{{{SHORTEST_WORD},}}")


def article_report(context: JobContext, *, now: datetime) -> dict[str, Any]:
    """Count the words, tags and months of the articles that are public at ``now``.

    A server-side cursor reads the rows, so memory holds the counts and CHUNK_ROWS articles only.
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
        found = list(article_words(title, body))
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


def article_words(title: str, body: str) -> Iterator[str]:
    """Return the words of an article in lower case, without markup, of at least SHORTEST_WORD letters."""
    text = f"{title} {html.unescape(_MARKUP.sub(' ', body))}"
    return (match.group() for match in _WORD.finditer(text.lower()))


def _top(counts: Counter[str], name: str) -> list[dict[str, Any]]:
    """Return the TOP most frequent keys. Equal counts are in alphabetical order, so that reports are reproducible."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return [{name: key, "count": count} for key, count in ranked]
