"""Every environment variable that has an effect: its kind, its default and why it is there.

One entry a name. ``.env.example`` lists the same names; a test compares the two. Defaults are written as an operator would
write them and pass through the same kind, so "unset" and "set to the default" cannot differ.
"""

from settings import kinds, urls
from settings.variable import Variable, count, days, limit, size

ENVIRONMENTS = ("dev", "staging", "prod", "test")
DEPLOYED = frozenset({"staging", "prod"})
EVERYWHERE = frozenset(ENVIRONMENTS)

# Fixed and public, so that a clone runs at once; the rules for staging and prod refuse it.
INSECURE_KEY = "django-insecure-development-only-key-that-staging-and-prod-refuse-to-boot-with"
_DEVELOPMENT = {"dev": INSECURE_KEY, "test": INSECURE_KEY}

VARIABLES = (
    Variable(
        name="DJANGO_ENV",
        why="Which settings module runs: dev, staging, prod or test. Unset means prod, so a forgotten setting is a safe one.",
        kind=kinds.choice(*ENVIRONMENTS),
        default="prod",
    ),
    Variable(name="SITE_NAME", why="The name people see: admin, pages, the API's title.", default="Shipshape"),
    Variable(
        name="BIND",
        why="Where the web process listens: an address, or unix:/path of a socket. Narrow it behind an edge on the same machine.",
        kind=kinds.listening,
        default="0.0.0.0",  # nosec B104 # noqa: S104 - a host's router comes from elsewhere; docs/deploy.md says when to narrow it
        defaults={"dev": "127.0.0.1"},  # it shows tracebacks, and has an account whose password is published
    ),
    Variable(
        name="PORT",
        why="The port it listens on, unless BIND is a socket.",
        kind=kinds.integer(at_least=1, at_most=65535),
        default="8000",
    ),
    Variable(
        name="PUBLIC_URL",
        why="Where clients reach the service; links, problem types and redirects are built from it, never from a Host header.",
        kind=urls.base_url("https", "http"),
        defaults={"dev": "http://localhost:{PORT}", "test": "http://testserver"},
        required_in=DEPLOYED,
    ),
    Variable(
        name="SECRET_KEY",
        why="Signs cursors and sessions. 50 random characters or more.",
        defaults=_DEVELOPMENT,
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        name="SECRET_KEY_FALLBACKS",
        why="Former SECRET_KEYs, separated by commas: what they signed stays valid while you change keys.",
        kind=kinds.listed,
        default="",
        secret=True,
    ),
    Variable(
        name="ALLOWED_HOSTS",
        why="Host names this service answers to; any other Host header is refused.",
        kind=kinds.hosts,
        defaults={"dev": "localhost,127.0.0.1,[::1]", "test": "testserver,localhost,127.0.0.1"},
        required_in=DEPLOYED,
    ),
    Variable(
        name="TRUSTED_PROXIES",
        why="How many proxies of yours stand in front (Heroku 1, Cloudflare before Heroku 2, none 0), or their networks.",
        kind=kinds.proxies,
        defaults={"dev": "0", "test": "0"},
        required_in=DEPLOYED,
    ),
    Variable(
        name="DATABASE_URL",
        why="PostgreSQL 15 or newer, the only database.",
        kind=urls.database_url,
        required_in=EVERYWHERE,
        secret=True,
    ),
    Variable(
        name="DATABASE_PGBOUNCER",
        why="A PgBouncer in transaction mode before it, for web processes; all others go on using DATABASE_URL. Empty: none.",
        kind=urls.pgbouncer_url,
        secret=True,
    ),
    Variable(
        name="DATABASE_REPLICA_URL",
        why="A streaming replica, read for signed-in GETs while it is at most seconds behind. Empty: none.",
        kind=urls.database_url,
        secret=True,
    ),
    Variable(
        name="DATABASE_POOL_MAX",
        why="Connections one web process may hold. Processes x this must fit the server's max_connections.",
        kind=kinds.integer(at_least=1, at_most=200),
        default="6",
    ),
    Variable(
        name="REDIS_URL",
        why="A Redis-protocol server (Redis or Valkey) for cache, limits, metrics and the queue's wake-up calls.",
        kind=urls.redis_url,
        required_in=EVERYWHERE,
        secret=True,
    ),
    Variable(
        name="CACHE_URL",
        why="Another Redis for cache and limits; unset means REDIS_URL.",
        kind=urls.redis_url,
        secret=True,
    ),
    Variable(
        name="BROKER_URL", why="Another Redis for the queue; unset means REDIS_URL.", kind=urls.redis_url, secret=True
    ),
    Variable(
        name="REDIS_PREFIX",
        why="What every key of this project begins with, so that others may use the same Redis. Alike in all its processes.",
        kind=kinds.redis_prefix,
        default="{SITE_NAME}-prod-{PUBLIC_URL}",
        defaults={"dev": "{SITE_NAME}-dev", "test": "{SITE_NAME}-test", "staging": "{SITE_NAME}-staging-{PUBLIC_URL}"},
    ),
    Variable(
        name="ALLOW_PLAINTEXT_STORES",
        why="Set to true on a private network where PostgreSQL, Redis or the mail server may be spoken to without TLS.",
        kind=kinds.boolean,
        default="false",
    ),
    Variable(
        name="CORS_ALLOWED_ORIGINS",
        why="Origins whose scripts may call the API from a browser, with our cookies too: your own front ends alone.",
        kind=kinds.origins,
        default="",
        defaults={"dev": "http://localhost:3000,http://localhost:5173"},
    ),
    Variable(
        name="CSP_REPORT_URI",
        why="Where browsers report violations of the content security policy.",
        kind=urls.report_url,
    ),
    limit("THROTTLE_ANON", "Requests per client address without a verified token.", default="100/15m", dev="1000/15m"),
    limit("THROTTLE_USER", "Requests per signed-in user.", default="1000/15m", dev="10000/15m"),
    limit(
        "THROTTLE_ADDRESS",
        "Requests per client address of any kind: the flood limit.",
        default="6000/15m",
        dev="60000/15m",
    ),
    limit(
        "THROTTLE_LOGIN",
        "Requests per client address to all endpoints that take a password, and the admin's login.",
        default="30/15m",
        dev="300/15m",
    ),
    Variable(
        name="CACHE_LOCAL_SECONDS",
        why="How long a process may answer from its own memory before it looks at Redis again.",
        kind=kinds.number(at_least=0, at_most=60),
        default="1",
    ),
    Variable(
        name="SESSION_CHECK_SECONDS",
        why="How long a process may trust its last look at a sign-in: a revocation bites everywhere within it.",
        kind=kinds.number(at_least=0, at_most=60),
        default="1",
    ),
    Variable(
        name="ACCESS_TOKEN_MINUTES",
        why="How long an access token lives.",
        kind=kinds.integer(at_least=1, at_most=60),
        default="15",
    ),
    Variable(
        name="REFRESH_TOKEN_DAYS",
        why="How long a refresh token lives: a sign-in that nobody refreshes for so long is over.",
        kind=kinds.integer(at_least=1, at_most=365),
        default="14",
    ),
    Variable(
        name="SESSION_DAYS",
        why="How long a sign-in lives at most, however often it is refreshed.",
        kind=kinds.integer(at_least=1, at_most=3650),
        default="90",
    ),
    Variable(
        name="REFRESH_GRACE_SECONDS",
        why="How long a refresh token just used gets the same successor again: a lost answer, two tabs at once.",
        kind=kinds.number(at_least=0, at_most=60),
        default="10",
    ),
    Variable(
        name="JWT_KEYS",
        why='The ring of signing keys: [{"kid": "2026-11", "key": "32 bytes or more", "sign_from": "2026-11-01T00:00:00Z"}].',
        kind=kinds.key_ring,
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        name="REQUIRE_VERIFIED_EMAIL",
        why="Set to true where nobody signs in before following a mailed link; registering then tells nobody what exists.",
        kind=kinds.boolean,
        default="false",
    ),
    Variable(
        name="ACCOUNT_URL",
        why="Where mailed links lead: pages that read the token behind # and post it to the API. Empty: {PUBLIC_URL}/account.",
        kind=urls.base_url("https", "http"),
    ),
    Variable(
        name="EMAIL_URL",
        why="The mail server. Without one nobody gets back into an account; dummymail:// sends nothing, on purpose.",
        kind=urls.mail_url,
        defaults={"dev": "consolemail://", "test": "memorymail://"},
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        name="EMAIL_FROM",
        why="Who mails come from.",
        kind=kinds.mailbox,
        defaults={"dev": "Shipshape <noreply@localhost>", "test": "Shipshape <noreply@testserver>"},
        required_in=DEPLOYED,
    ),
    Variable(
        name="EMAIL_REDIRECT",
        why="Where every mail goes instead of to its recipient, so that a copy of real data writes to nobody.",
        kind=kinds.mailbox,
        required_in=frozenset({"staging"}),
    ),
    days(
        "RETENTION_SESSIONS",
        "Days that sign-ins are kept after they ended or expired; manage.py prune removes them then.",
        at_least=0,
        default="30",
    ),
    days(
        "RETENTION_EVENTS",
        "Days that security events (sign-ins, failures, password changes) are kept.",
        at_least=0,
        default="365",
    ),
    days(
        "RETENTION_JOBS",
        "Days that jobs are kept after they ended, and the uploads of failed ones, which can be retried.",
        at_least=0,
        default="30",
    ),
    days(
        "RETENTION_FILES",
        "Days that result files are kept after their jobs succeeded; the jobs stay for RETENTION_JOBS.",
        at_least=1,
        default="7",
    ),
    Variable(
        name="RETENTION_IDEMPOTENCY",
        why="Hours that a request may be repeated under its Idempotency-Key: so long its answer is kept.",
        kind=kinds.integer(at_least=1, at_most=24 * 365),
        default="24",
    ),
    Variable(
        name="SENTRY_DSN",
        why="Where errors are reported; unset reports nowhere.",
        kind=urls.sentry_dsn,
        secret=True,
    ),
    Variable(name="METRICS_TOKEN", why="The bearer token that opens /metrics; unset closes it.", secret=True),
    Variable(
        name="LOG_LEVEL",
        why="The least severe level that is written.",
        kind=kinds.choice("DEBUG", "INFO", "WARNING", "ERROR"),
        default="INFO",
    ),
    Variable(
        name="LOG_ADDRESSES",
        why="How client addresses appear in logs: full, truncated (/24, /48) or none.",
        kind=kinds.choice("full", "truncated", "none"),
        default="truncated",
    ),
    Variable(
        name="IMPORT_MAX_BYTES",
        why="The largest file an import takes.",
        kind=kinds.integer(at_least=1024, at_most=10 * 1024**3),
        default=str(64 * 1024**2),
    ),
    count(
        "JOBS_PER_USER",
        "How many jobs of one user may wait and run at a time; the next one is refused (429).",
        default=100,
    ),
    count(
        "JOBS_RUNNING_PER_USER",
        "How many of them may run at a time, in all workers together: fewer than those have processes for heavy work.",
        default=1,
    ),
    size(
        "JOBS_FILES_PER_USER",
        "Bytes of uploads and result files that one user's jobs may keep; beyond it the next one is refused (429).",
        default=512 * 1024**2,
    ),
    size(
        "JOBS_FILES_TOTAL",
        "Bytes of uploads and result files that all jobs together may keep; beyond it no job adds any (503).",
        default=5 * 1024**3,
    ),
    Variable(
        name="WEB_CONCURRENCY",
        why="Web processes per instance; Heroku-style hosts set it.",
        kind=kinds.integer(at_least=1, at_most=256),
        default="2",
    ),
    Variable(
        name="WEB_THREADS", why="Threads per web process.", kind=kinds.integer(at_least=1, at_most=256), default="8"
    ),
    Variable(
        name="PROCESS_KIND",
        why="web, worker, beat or command: pool and timeouts follow it. bin/web and the Procfile set it.",
        kind=kinds.choice("web", "worker", "beat", "command"),
        default="command",
    ),
)
