"""Caching: data and responses from memory or Redis, one build for concurrent misses, tags, conditional requests."""

from apps.practices.caching.conditional import etag, if_match_version, refuse_if_any, with_version
from apps.practices.caching.data import remember
from apps.practices.caching.declarations import CachedResponse
from apps.practices.caching.tags import tags_change

__all__ = ["CachedResponse", "etag", "if_match_version", "refuse_if_any", "remember", "tags_change", "with_version"]
