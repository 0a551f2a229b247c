"""Secrets that were probably not generated at random are weak; generated ones are not."""

import base64
import secrets

import pytest
from django.core.management.utils import get_random_secret_key

from settings.rules import is_weak


@pytest.mark.parametrize(
    "secret",
    [
        "change-me-to-a-long-random-string-of-50-characters-or-more",
        "CHANGE_ME" * 6,
        "Replace.With.50.chars.0f.y0ur.own.1234.5678.9abc.defg",
        "your-secret-key-here-it-should-be-50-characters-long-1",
        "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "9876543210zyxwvutsrqponmlkjihgfedcba9876543210zyxwvuts",
        "0123456789abcdef" * 4,
        "aB3$xY9!" * 7,
        "The quick brown fox jumps over the lazy dog and then runs away",
        "the-old-apple-tree-fell-down-in-the-storm-of-last-night",
        "-" * 50 + "abcdefgh",
    ],
)
def test_secrets_that_were_not_generated_are_weak(secret):
    assert is_weak(secret, length=50)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: secrets.token_urlsafe(50),
        lambda: secrets.token_urlsafe(18),
        lambda: secrets.token_hex(32),
        lambda: base64.b64encode(secrets.token_bytes(48)).decode(),
        lambda: base64.b32encode(secrets.token_bytes(32)).decode(),
        get_random_secret_key,
    ],
    ids=["urlsafe", "short", "hex", "base64", "base32", "django"],
)
def test_generated_secrets_are_not_weak(draw):
    assert [secret for secret in (draw() for _ in range(500)) if is_weak(secret, length=24)] == []
