"""The kinds of URL that an environment variable can have. What a client library would refuse later is an error at boot.

Like every kind, each raises ``ValueError`` with a message that says what to write and never repeats the text. Client
libraries are imported only when they are used, since most processes that read the environment do not need them.
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
# Django reads these options; libpq gets all others.
_DJANGO_OPTIONS = frozenset({"assume_role", "prepare_threshold"})
_OF_A_SESSION = frozenset({"assume_role", "options", "prepare_threshold"})
_INSTEAD = {
    "conn_max_age": "the pool keeps connections",
    "pgbouncer": "put the address of a PgBouncer into DATABASE_PGBOUNCER",
    "schema": "write options=-c%20search_path%3Dname",
    "ssl": "write sslmode=require",
}
_WHOLE_NUMBERS = re.compile(r"prepare_threshold|connect_timeout|keepalives(_idle|_interval|_count)?|tcp_user_timeout")
_POSTGRES_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_MAIL_SERVERS = ("smtp", "smtp+tls", "smtps", "smtp+ssl")
_MAIL_WITHOUT = ("consolemail", "filemail", "memorymail", "dummymail")


def base_url(*schemes: str) -> Kind:
    """Return a kind: the base of other URLs. A slash at its end is removed."""

    def parse(value: str) -> str:
        url, parts = _web(value, schemes)
        if parts.query:
            raise ValueError("remove the query: paths are appended to this URL")
        return url.rstrip("/")

    return parse


def report_url(value: str) -> str:
    """Return a URL for the content security policy, where ``;`` and ``,`` end a value."""
    url, _ = _web(value, ("https", "http"))
    if re.search("[;,\"']", url):
        raise ValueError("percent-encode ; , and quotes, which would end the value in the policy (%3B, %2C, %22, %27)")
    return url


def _web(value: str, schemes: Collection[str]) -> tuple[str, SplitResult]:
    url, parts = _split(value, schemes, is_store=False)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("write a host after the scheme, without a user and without a fragment (#)")
    return url, parts


def sentry_dsn(value: str) -> str:
    """Return the DSN. Raise ``ValueError`` if Sentry's client cannot read it."""
    url, _ = _split(value, ("https", "http"), is_store=True)
    from sentry_sdk.utils import BadDsn, Dsn

    try:
        Dsn(url)
    except BadDsn:
        raise ValueError("write the DSN as Sentry shows it: https://key@host/number") from None
    return url


def database_url(value: str) -> str:
    """Return a PostgreSQL URL. Raise ``ValueError`` for an option that neither Django nor libpq accepts."""
    url, parts = _split(value, _POSTGRES, is_store=True)
    options = _query(parts)
    database = unquote(parts.path).rpartition("/")[2]
    if not (database or "service" in options) or len(database.encode()) > 63:
        raise ValueError(
            "name the database after the host: postgresql://user:password@host:5432/name (63 bytes at most)"
        )
    for name, text in options.items():  # libpq checks these only when it connects
        if _WHOLE_NUMBERS.fullmatch(name) and not text.isdecimal():
            raise ValueError(f"write {name} as a whole number")
    _require_files(options, [name for name in _POSTGRES_FILES if options.get(name) != "system"])
    if options := {name: text for name, text in options.items() if name not in _DJANGO_OPTIONS}:
        _ask_libpq(options)
    return url


def _ask_libpq(options: Mapping[str, str]) -> None:
    """Raise ``ValueError`` for an option that libpq, psycopg's client library, would refuse at every connection.

    It checks all of them before it connects, here to a socket that cannot exist.
    """
    from psycopg import conninfo, pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(set(options) - known):
        hints = [_INSTEAD[name] for name in unknown if name in _INSTEAD]
        reason = "; ".join(["PostgreSQL's client library (libpq) has no such option", *hints])
        raise ValueError(f"remove {', '.join(map(_shown, unknown))} from the query: {reason}")
    nowhere = "/nonexistent/shipshape"
    asked = {name: text for name, text in options.items() if name not in ("hostaddr", "port")} | {"host": nowhere}
    connection = pq.PGconn.connect_start(conninfo.make_conninfo(**asked).encode())
    message = connection.error_message.decode(errors="replace")
    connection.finish()
    if nowhere not in message:
        refused = [name for name in options if name in message] or sorted(options)
        raise ValueError(f"PostgreSQL's client library (libpq) does not accept the value of {', '.join(refused)}")


def pgbouncer_url(value: str) -> str:
    """Return a PostgreSQL URL without session options, which do not work in transaction mode."""
    url = database_url(value)
    if asked := _OF_A_SESSION.intersection(_query(urlsplit(url))):
        raise ValueError(
            f"remove {', '.join(sorted(asked))}, which needs a session, and transaction mode has no sessions. "
            "Set a default for the role instead (ALTER ROLE ... SET ...)"
        )
    return url


def redis_url(value: str) -> str:
    """Return a Redis URL in the spelling that redis-py, django-redis and kombu all accept.

    The server's certificate is verified unless the operator writes ``none``; kombu by itself would not verify it. Only TLS
    options are accepted: each of the others breaks one of the clients or overrides one of our timeouts.
    """
    url, parts = _split(value, ("redis", "rediss", "unix"), is_store=True)
    if ";" in url:
        raise ValueError("percent-encode ; as %3B: for the client of the job queue it ends the URL")
    options = _query(parts)
    if parts.scheme == "unix":
        if set(options) - {"db"} or not options.get("db", "0").isdecimal() or parts.hostname or parts.path in ("", "/"):
            raise ValueError("write unix:///path/of/the/socket, with ?db=1 at the end for another database than 0")
        return url
    if not re.fullmatch(r"/?\d*", parts.path.rstrip("/")):
        raise ValueError("write only the number of the database after the host: redis://host:6379/0")
    url = urlunsplit(parts._replace(path=parts.path.rstrip("/")))
    allowed = {"ssl_cert_reqs", "ssl_check_hostname", *_REDIS_FILES} if parts.scheme == "rediss" else set()
    if unknown := sorted(set(options) - allowed):
        names = ", ".join(map(_shown, unknown))
        raise ValueError(f"remove {names} from the query: rediss:// URLs may have ssl_… options, others none")
    if parts.scheme == "redis":
        return url
    words = {"required": "required", "cert_required": "required", "none": "none", "cert_none": "none"}
    found = words.get(options.get("ssl_cert_reqs", "required").lower())
    if found is None:
        raise ValueError("write ssl_cert_reqs=required or ssl_cert_reqs=none, or remove it")
    if options.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("write ssl_check_hostname=true or ssl_check_hostname=false")
    _require_files(options, _REDIS_FILES)
    return f"{url.partition('?')[0]}?{urlencode({**options, 'ssl_cert_reqs': found}, safe='/')}"


def broker_url(url: str) -> str:
    """Return a Redis URL for kombu, which uses another scheme for sockets than redis-py."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={_query(parts).get('db', '0')}"


def mail_url(value: str) -> str:
    """Return the URL of a mail server (``smtp+tls://user:password@host:587``), or of another mail backend."""
    scheme, separator, rest = value.strip().partition("://")
    if not separator or scheme not in (*_MAIL_SERVERS, *_MAIL_WITHOUT):
        raise ValueError(
            "write smtp+tls://user:password@host:587, smtps://…:465, or dummymail:// to send no mail at all"
        )
    if scheme in _MAIL_WITHOUT:
        if (scheme == "filemail") != bool(rest):
            raise ValueError("write the folder after filemail://, and nothing after the other schemes")
        return value.strip()
    url, parts = _split(value, _MAIL_SERVERS, is_store=True)
    if not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("write a host and, if needed, a port, but no path or query: the scheme selects TLS")
    if not unquote(f"{parts.username}{parts.password}").isascii():
        raise ValueError(
            "use only ASCII in the user and the password: Python's mail client (smtplib) cannot send others"
        )
    return url


def is_local(url: str) -> bool:
    """Return whether a URL leads only to this machine: a socket, localhost or a loopback address."""
    parts = urlsplit(url)
    query = parse_qs(parts.query) if parts.scheme in _POSTGRES else {}
    if "service" in query:
        return False  # the host is in a file that is not read here
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
    """Return an absolute URL and its parts. Raise ``ValueError`` for the URL of a store whose password would cut it short."""
    url = value.strip()
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes or not rest.strip("/"):
        raise ValueError(f"write a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    path, _, query = rest[len(authority) :].partition("?")
    if is_store and ("#" in rest or "@" in path or ("@" in query and not at) or not _USERINFO.fullmatch(userinfo)):
        raise ValueError(_ENCODE)
    if re.search(r"[\s\x00-\x1f\x7f]|%00", url):
        raise ValueError("percent-encode spaces and line breaks, and remove zero bytes")
    try:
        parts = urlsplit(url)
        if "," not in authority:  # only PostgreSQL's URLs may list several servers, each with its port
            _ = parts.port  # raises unless it is a number
        unquote(url, errors="strict")
    except ValueError:
        raise ValueError(f"write scheme://host:port/… with a number as the port, or {_ENCODE}") from None
    return url, parts


def _query(parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        pairs = [("", ""), ("", "")]
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ValueError("write the query as name=value&other=value, with each name once")
    return options


def _require_files(options: Mapping[str, str], names: Collection[str]) -> None:
    if missing := [name for name in names if options.get(name) and not Path(options[name]).is_file()]:
        raise ValueError(f"{', '.join(missing)} names a file that does not exist")


def _shown(name: str) -> str:
    """Return an option's name, unless it may be part of a secret."""
    return name if re.fullmatch("[a-z][a-z_]{1,30}", name) else "one option"
