"""E-mail addresses in the one form that is stored, compared and mailed to.

The domain is in ASCII, by UTS 46 in its non-transitional form, as browsers and mail services read it: ``faß.example`` is
``xn--fa-hia.example``. Python's own ``idna`` codec follows IDNA 2003 and returns ``fass.example``, a different domain.
"""

import re
from contextlib import suppress

import idna

from apps.practices.validation.text import UncleanText, clean_plain

EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1.3: a path has 256 octets, two of them the angle brackets
_INVALID = "Enter a valid email address."
# RFC 5321's dot-string of at most 64 octets (4.5.3.1.1); quoted strings are not used in practice.
_LOCAL = re.compile(r"(?=.{1,64}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
# At least two labels, the last of which is not a number: neither a local host name nor an IP address.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?=.*[a-z])(?=.{{2}}){_LABEL}", re.ASCII)


def email_clean(text: str) -> str:
    """Return the stored form of an address: lower case, the domain in ASCII (UTS 46, non-transitional; IDNA 2008).

    RFC 5321 allows the part before the @ to be case-sensitive. Mail services do not use that, and two accounts that differ
    only in case invite impersonation. Raise UncleanText (``max_length``, ``invalid`` and the codes of `clean_plain`) for
    quoted local parts, IP addresses, domains of one label, and anything that is not an address.
    """
    if len(text) > EMAIL_LENGTH:  # before the conversion of a domain of any length
        raise _too_long()
    local, _, domain = clean_plain(text).rpartition("@")
    try:
        email = f"{local.lower()}@{_ascii(domain)}"
    except UnicodeError as error:
        raise UncleanText("invalid", _INVALID) from error
    if len(email) > EMAIL_LENGTH:
        raise _too_long()
    local, _, domain = email.rpartition("@")
    # Check the local part as typed, too: ``K`` (the Kelvin sign) is lower-cased to an ASCII letter.
    if not (text.rpartition("@")[0].isascii() and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)):
        raise UncleanText("invalid", _INVALID)
    return email


def email_normalised(text: str) -> str:
    """Return an address in its stored form, to compare it; text that is not an address is only lower-cased."""
    with suppress(UncleanText):
        return email_clean(text)
    return text.strip().lower()


def _ascii(domain: str) -> str:
    """Return the ASCII form of a domain; raise UnicodeError, also for A-labels that encode nothing valid."""
    domain = domain.lower() if domain.isascii() else domain
    if domain.isascii() and "xn--" not in domain:
        return domain
    return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")


def _too_long() -> UncleanText:
    return UncleanText("max_length", f"Ensure this field has no more than {EMAIL_LENGTH} characters.")
