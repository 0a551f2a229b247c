"""What a regular expression of JSON Schema (ECMA-262) can say of clean text: which characters, and that something is seen.

It agrees with `text.clean_plain`, which takes white space off the ends before it looks. Left to words: the normal form, in
which lengths are counted, marks in a row, and what can be seen beyond the first plane.
"""

_SPACE = (
    r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what str.strip() takes off
)
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0"
)
_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"  # what no text holds
_BREAK = r"\t\n\r\u2028\u2029"  # what text of one line does not hold either

NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
# The letters, digits and signs of a dot-string (RFC 5321, 4.1.2), and a domain of two labels or more.
EMAIL = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,62})*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])$"
)
# `slugs` knows the letters and marks of every script. Here are the signs that are most used, of Latin-1 and of punctuation.
_SIGNS = (
    r"!-,./:-@\[-^`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u200b\u200e-\u2027\u2030-\u205e\u2060-\u206f"
)
SLUG = rf"^[{_SPACE}]*[^\s{_SIGNS}{_CONTROL}]+[{_SPACE}]*$"


def text_pattern(*, multiline: bool, blank: bool, without: str = "") -> str:
    """Return the pattern of clean text: of several lines or one, blank or not, without some more characters."""
    refused = _CONTROL + without + ("" if multiline else _BREAK)
    seen = "" if blank else rf"[\u0020{_UNSEEN}]*[^{refused}{_SPACE}{_UNSEEN}]"
    return rf"^[{_SPACE}]*{seen}[^{refused}]*[{_SPACE}]*$"
