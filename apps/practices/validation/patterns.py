"""Patterns of clean text as regular expressions of JSON Schema (ECMA-262): allowed characters, and at least one visible.

They agree with `text.clean_plain`, which strips white space first. They do not express the normal form, the number of
combining marks in a row, or what is visible beyond the first plane.
"""

_SPACE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what str.strip() removes
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0"
)
_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"  # in no text
_BREAK = r"\t\n\r\u2028\u2029"  # not in text of one line

NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
# The letters, digits and signs of a dot-string (RFC 5321, 4.1.2), and a domain of two labels or more.
EMAIL = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,62})*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])$"
)
# The most common signs, of Latin-1 and general punctuation. `slugs` checks the letters and marks of every script.
_SIGNS = (
    r"!-,./:-@\[-^`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u200b\u200e-\u2027\u2030-\u205e\u2060-\u206f"
)
SLUG = rf"^[{_SPACE}]*[^\s{_SIGNS}{_CONTROL}]+[{_SPACE}]*$"


def text_pattern(*, multiline: bool, blank: bool, without: str = "") -> str:
    """Return the pattern of clean text; ``without`` excludes further characters."""
    refused = _CONTROL + without + ("" if multiline else _BREAK)
    seen = "" if blank else rf"[\u0020{_UNSEEN}]*[^{refused}{_SPACE}{_UNSEEN}]"
    return rf"^[{_SPACE}]*{seen}[^{refused}]*[{_SPACE}]*$"
