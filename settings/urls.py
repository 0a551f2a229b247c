"""The kinds of URL an environment variable can hold, read to the end: what a client library would refuse later is a mistake now.

Like every kind, each raises ``ValueError`` with a sentence that says what would be right and never repeats the text. The
client libraries are imported when one is asked, since most processes that read the environment need none of them.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from settings.kinds import Kind

_POSTGRES = ("postgres", "postgresql", "pgsql")
_USERINFO = re.compile(r"(?:[\w.~!$&'()*+,;=:-]|%[0-9A-F]{2})*", re.ASCII | re.IGNORECASE)  # RFC 3986, 3.2.1
_ENCODE = (
    "percent-encode the user and the password: / is %2F, # is %23, ? is %3F, @ is %40, % is %25 (python3 -c "
    "'import getpass, urllib.parse as u; print(u.quote(getpass.getpass(), safe=\"\"))')"
)
# What Django itself reads from the options; all others go to libpq.
_DJANGO_OPTIONS = frozenset({"assume_role", "prepare_threshold"})
_OF_A_SESSION = frozenset({"assume_role", "options", "prepare_threshold"})
_INSTEAD = {
    "conn_max_age": "connections are kept by the pool",
    "pgbouncer": "the address of a PgBouncer belongs in DATABASE_PGBOUNCER",
    "schema": "write options=-c%20search_path%3Dname",
    "ssl": "write sslmode=require",
}
_WHOLE_NUMBERS = re.compile(r"prepare_threshold|connect_timeout|keepalives(_idle|_interval|_count)?|tcp_user_timeout")
_POSTGRES_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_MAIL_SERVERS = ("smtp", "smtp+tls", "smtps", "smtp+ssl")
_MAIL_WITHOUT = ("consolemail", "filemail", "memorymail", "dummymail")


def base_url(*schemes: str) -> Kind:
    """Return a kind: a page's address to build others from. A closing slash is dropped."""

    def parse(value: str) -> str:
        address, parts = _web(value, schemes)
        if parts.query:
            raise ValueError("leave out the query: paths are put behind this address")
        return address.rstrip("/")

    return parse


def report_url(value: str) -> str:
    """Return an address for the content security policy, where ``;`` and ``,`` end a value."""
    address, _ = _web(value, ("https", "http"))
    if re.search("[;,\"']", address):
        raise ValueError("percent-encode ; , and quotes: they would end the value in the policy (%3B, %2C, %22, %27)")
    return address


def _web(value: str, schemes: Collection[str]) -> tuple[str, SplitResult]:
    address, parts = _split(value, schemes, is_store=False)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("write a host behind the scheme, without a user before it and without a # part")
    return address, parts


def sentry_dsn(value: str) -> str:
    """Return the DSN, if Sentry's own client can read it."""
    address, _ = _split(value, ("https", "http"), is_store=True)
    from sentry_sdk.utils import BadDsn, Dsn

    try:
        Dsn(address)
    except BadDsn:
        raise ValueError("write the DSN as Sentry shows it: https://key@host/number") from None
    return address


def database_url(value: str) -> str:
    """Return a PostgreSQL URL whose every option is one that Django or libpq takes."""
    address, parts = _split(value, _POSTGRES, is_store=True)
    options = _query(parts)
    database = unquote(parts.path).rpartition("/")[2]
    if not (database or "service" in options) or len(database.encode()) > 63:
        raise ValueError(
            "name the database behind the host: postgresql://user:password@host:5432/name (63 bytes at most)"
        )
    for name, text in options.items():  # libpq reads these only once it connects
        if _WHOLE_NUMBERS.fullmatch(name) and not text.isdecimal():
            raise ValueError(f"write {name} as a whole number")
    _require_files(options, [name for name in _POSTGRES_FILES if options.get(name) != "system"])
    if options := {name: text for name, text in options.items() if name not in _DJANGO_OPTIONS}:
        _ask_libpq(options)
    return address


def _ask_libpq(options: Mapping[str, str]) -> None:
    """Raise ValueError for an option that libpq, the library under psycopg, would refuse at every connection.

    It reads all of them before it connects, here to a socket that cannot exist.
    """
    from psycopg import conninfo, pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(set(options) - known):
        hints = [_INSTEAD[name] for name in unknown if name in _INSTEAD]
        reason = "; ".join(["PostgreSQL's client library (libpq) has no such option", *hints])
        raise ValueError(f"leave {', '.join(map(_shown, unknown))} out of the query: {reason}")
    nowhere = "/nonexistent/shipshape"
    asked = {name: text for name, text in options.items() if name not in ("hostaddr", "port")} | {"host": nowhere}
    connection = pq.PGconn.connect_start(conninfo.make_conninfo(**asked).encode())
    message = connection.error_message.decode(errors="replace")
    connection.finish()
    if nowhere not in message:
        refused = [name for name in options if name in message] or sorted(options)
        raise ValueError(f"PostgreSQL's client library (libpq) does not take this value of {', '.join(refused)}")


def pgbouncer_url(value: str) -> str:
    """Return a PostgreSQL URL that asks for nothing a session would have to keep: in transaction mode none is ours."""
    address = database_url(value)
    if asked := _OF_A_SESSION.intersection(_query(urlsplit(address))):
        raise ValueError(
            f"leave {', '.join(sorted(asked))} out: in transaction mode no session is kept; "
            "give the role its defaults instead (ALTER ROLE ... SET ...)"
        )
    return address


def redis_url(value: str) -> str:
    """Return a Redis URL that redis-py, django-redis and kombu all take, in the one spelling they all read.

    Unless the operator says ``none`` the server's certificate is verified: kombu alone would take any. No other options
    than those of TLS: each of the rest stops one of the clients or undoes a bound of ours.
    """
    address, parts = _split(value, ("redis", "rediss", "unix"), is_store=True)
    if ";" in address:
        raise ValueError("percent-encode ; as %3B: the queue's client takes it for the end of the address")
    options = _query(parts)
    if parts.scheme == "unix":
        if set(options) - {"db"} or not options.get("db", "0").isdecimal() or parts.hostname or parts.path in ("", "/"):
            raise ValueError("write unix:///path/of/the/socket, with ?db=1 behind it for another database than 0")
        return address
    if not re.fullmatch(r"/?\d*", parts.path.rstrip("/")):
        raise ValueError("write the number of the database behind the host, and nothing else: redis://host:6379/0")
    address = urlunsplit(parts._replace(path=parts.path.rstrip("/")))
    allowed = {"ssl_cert_reqs", "ssl_check_hostname", *_REDIS_FILES} if parts.scheme == "rediss" else set()
    if unknown := sorted(set(options) - allowed):
        names = ", ".join(map(_shown, unknown))
        raise ValueError(
            f"leave {names} out of the query: behind rediss:// it may hold ssl_… options, otherwise nothing"
        )
    if parts.scheme == "redis":
        return address
    words = {"required": "required", "cert_required": "required", "none": "none", "cert_none": "none"}
    found = words.get(options.get("ssl_cert_reqs", "required").lower())
    if found is None:
        raise ValueError("write ssl_cert_reqs=required or ssl_cert_reqs=none behind a rediss:// URL, or leave it out")
    if options.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("write ssl_check_hostname=true or ssl_check_hostname=false")
    _require_files(options, _REDIS_FILES)
    return f"{address.partition('?')[0]}?{urlencode({**options, 'ssl_cert_reqs': found}, safe='/')}"


def broker_url(address: str) -> str:
    """Return a Redis URL as kombu writes it, which knows a socket by another scheme than redis-py."""
    parts = urlsplit(address)
    if parts.scheme != "unix":
        return address
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={_query(parts).get('db', '0')}"


def mail_url(value: str) -> str:
    """Return the URL of a mail server (``smtp+tls://user:password@host:587``), or where mails go instead of to one."""
    scheme, separator, rest = value.strip().partition("://")
    if not separator or scheme not in (*_MAIL_SERVERS, *_MAIL_WITHOUT):
        raise ValueError(
            "write smtp+tls://user:password@host:587, smtps://…:465, or dummymail:// to send no mail at all"
        )
    if scheme in _MAIL_WITHOUT:
        if (scheme == "filemail") != bool(rest):
            raise ValueError("write the folder behind filemail://, and nothing behind the other schemes")
        return value.strip()
    address, parts = _split(value, _MAIL_SERVERS, is_store=True)
    if not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("write a host, perhaps a port, and nothing behind them: the scheme says whether TLS is used")
    if not unquote(f"{parts.username}{parts.password}").isascii():
        raise ValueError("write a user and a password in ASCII: Python's mail client (smtplib) can send no other")
    return address


def is_local(url: str) -> bool:
    """Return whether a URL leads to this machine alone: a socket, localhost or a loopback address."""
    parts = urlsplit(url)
    query = parse_qs(parts.query) if parts.scheme in _POSTGRES else {}
    if "service" in query:
        return False  # a file elsewhere says where to
    named = [*query.get("host", []), *query.get("hostaddr", [])]
    hosts = [host for text in (parts.hostname or "", *named) for host in unquote(text).split(",") if host]
    return all(map(_is_this_machine, hosts))


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: str, schemes: Collection[str], *, is_store: bool) -> tuple[str, SplitResult]:
    """Return an absolute URL and its parts. One of a store may hold a password, and no character that cuts it short."""
    address = value.strip()
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in schemes or not rest.strip("/"):
        raise ValueError(f"write a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    path, _, query = rest[len(authority) :].partition("?")
    if is_store and ("#" in rest or "@" in path or ("@" in query and not at) or not _USERINFO.fullmatch(userinfo)):
        raise ValueError(_ENCODE)
    if re.search(r"[\s\x00-\x1f\x7f]|%00", address):
        raise ValueError("percent-encode blanks and line ends, and leave out zero bytes")
    try:
        parts = urlsplit(address)
        if "," not in authority:  # PostgreSQL's alone: several servers, each with its own port
            _ = parts.port  # raises unless it is a number
        unquote(address, errors="strict")
    except ValueError:
        raise ValueError(f"write scheme://host:port/… with a number as the port; or {_ENCODE}") from None
    return address, parts


def _query(parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        pairs = [("", ""), ("", "")]
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ValueError("write the query as name=value&other=value, each name once")
    return options


def _require_files(options: Mapping[str, str], names: Collection[str]) -> None:
    if missing := [name for name in names if options.get(name) and not Path(options[name]).is_file()]:
        raise ValueError(f"{', '.join(missing)} names a file that is not there")


def _shown(name: str) -> str:
    """Return an option's name, unless it may be a piece of something secret."""
    return name if re.fullmatch("[a-z][a-z_]{1,30}", name) else "one option"
