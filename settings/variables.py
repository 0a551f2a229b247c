"""Every environment variable that has an effect: its kind, its default, and what it is for.

``.env.example`` lists the same names in the same order; a test compares the two. Defaults are written as an operator would
write them and are parsed by the same kind, so that leaving a variable unset and setting it to its default are the same.
"""

from settings import kinds, urls
from settings.observed import OBSERVABILITY
from settings.variable import Variable, days, integer, limit, seconds

ENVIRONMENTS = ("dev", "staging", "prod", "test")
DEPLOYED = frozenset({"staging", "prod"})

# Published, so that a clone starts without configuration. staging and prod refuse it.
INSECURE_KEY = "django-insecure-development-only-key-that-staging-and-prod-refuse-to-boot-with"

SERVICE = (
    Variable(
        "DJANGO_ENV",
        "The environment, which selects the settings module: dev, staging, prod or test. Defaults to prod, the safest one.",
        kinds.choice(*ENVIRONMENTS),
        default="prod",
    ),
    Variable("SITE_NAME", "The name shown in the admin, on pages and in the API's title.", default="Shipshape"),
    Variable(
        "BIND",
        "The address that the web process listens on, or unix:/path for a socket. Use 127.0.0.1 behind a local proxy.",
        kinds.listening,
        default="0.0.0.0",  # nosec B104 # noqa: S104 - a host's router connects from another machine; see docs/deploy.md
        defaults={"dev": "127.0.0.1"},  # dev shows tracebacks and has an account with a published password
    ),
    integer("PORT", "The port that the web process listens on, unless BIND is a socket.", default=8000, at_most=65535),
    Variable(
        "PUBLIC_URL",
        "The URL at which clients reach the service. Links and redirects are built from it, never from a Host header.",
        urls.base_url("https", "http"),
        defaults={"dev": "http://localhost:{PORT}", "test": "http://testserver"},
        required_in=DEPLOYED,
    ),
    Variable(
        "SECRET_KEY",
        "The key that signs cursors and admin sessions: 50 random characters or more.",
        defaults={"dev": INSECURE_KEY, "test": INSECURE_KEY},
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        "SECRET_KEY_FALLBACKS",
        "Previous SECRET_KEYs, separated by commas. What they signed stays valid until you remove them.",
        kinds.listed,
        default="",
        secret=True,
    ),
    Variable(
        "ALLOWED_HOSTS",
        "The host names of the service, separated by commas. Requests with another Host header are refused.",
        kinds.hosts,
        defaults={"dev": "localhost,127.0.0.1,[::1]", "test": "testserver,localhost,127.0.0.1"},
        required_in=DEPLOYED,
    ),
    Variable(
        "TRUSTED_PROXIES",
        "The number of trusted proxies in front of it (Heroku 1, Cloudflare before Heroku 2, none 0), or their networks.",
        kinds.proxies,
        defaults={"dev": "0", "test": "0"},
        required_in=DEPLOYED,
    ),
)

STORES = (
    Variable(
        "DATABASE_URL",
        "The PostgreSQL database, version 15 or newer.",
        urls.database_url,
        # While bin/dev is not running, and for tools such as mypy that load settings.test: nothing listens there.
        defaults=dict.fromkeys(("dev", "test"), "postgresql://nobody@127.0.0.1:9/none"),
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        "DATABASE_PGBOUNCER",
        "A PgBouncer in transaction mode, used by web processes. All other processes use DATABASE_URL.",
        urls.pgbouncer_url,
        secret=True,
    ),
    Variable(
        "DATABASE_REPLICA_URL",
        "A streaming replica that answers GET requests of signed-in users, while it is at most a few seconds behind.",
        urls.database_url,
        secret=True,
    ),
    integer(
        "DATABASE_POOL_MAX",
        "The most connections of one web process. All of them together must fit the server's max_connections.",
        default=6,
        at_most=200,
    ),
    Variable(
        "REDIS_URL",
        "A Redis or Valkey server for the cache, rate limits, metrics and job notifications.",
        urls.redis_url,
        defaults=dict.fromkeys(("dev", "test"), "redis://127.0.0.1:9/0"),
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        "CACHE_URL", "Another Redis for the cache and rate limits. Defaults to REDIS_URL.", urls.redis_url, secret=True
    ),
    Variable("BROKER_URL", "Another Redis for jobs. Defaults to REDIS_URL.", urls.redis_url, secret=True),
    Variable(
        "REDIS_PREFIX",
        "The prefix of all keys in Redis, so that several projects can share a server. Use the same in all processes.",
        kinds.redis_prefix,
        default="{SITE_NAME}-prod-{PUBLIC_URL}",
        defaults={"dev": "{SITE_NAME}-dev", "test": "{SITE_NAME}-test", "staging": "{SITE_NAME}-staging-{PUBLIC_URL}"},
    ),
    Variable(
        "ALLOW_PLAINTEXT_STORES",
        "Set to true to allow connections to PostgreSQL, Redis and the mail server without TLS, on a private network.",
        kinds.boolean,
        default="false",
    ),
)

LIMITS = (
    Variable(
        "CORS_ALLOWED_ORIGINS",
        "The origins of your front ends, separated by commas. Their scripts may call the API with the user's cookies.",
        kinds.origins,
        default="",
        defaults={"dev": "http://localhost:3000,http://localhost:5173"},
    ),
    Variable(
        "CSP_REPORT_URI", "The URL to which browsers report violations of the content security policy.", urls.report_url
    ),
    limit(
        "THROTTLE_ANON", "Requests per client address without a valid access token.", default="100/15m", dev="1000/15m"
    ),
    limit("THROTTLE_USER", "Requests per signed-in user.", default="1000/15m", dev="10000/15m"),
    limit("THROTTLE_ADDRESS", "All requests per client address.", default="6000/15m", dev="60000/15m"),
    limit(
        "THROTTLE_LOGIN",
        "Requests per client address to the endpoints that take a password or send mail, including the admin's login.",
        default="30/15m",
        dev="300/15m",
    ),
    seconds(
        "CACHE_LOCAL_SECONDS",
        "How long a process serves cached data from its own memory before it asks Redis again, in seconds.",
        default=1,
    ),
    seconds(
        "SESSION_CHECK_SECONDS",
        "How long a process caches a session check, in seconds. Revocations take effect everywhere within this time.",
        default=1,
    ),
)

ACCOUNTS = (
    integer("ACCESS_TOKEN_MINUTES", "The lifetime of an access token, in minutes.", default=15, at_most=60),
    integer(
        "REFRESH_TOKEN_DAYS",
        "The lifetime of a refresh token, in days. A session that is not refreshed within this time ends.",
        default=14,
        at_most=365,
    ),
    integer(
        "SESSION_DAYS",
        "The longest lifetime of a session, in days, however often it is refreshed.",
        default=90,
        at_most=3650,
    ),
    seconds(
        "REFRESH_GRACE_SECONDS",
        "How long a used refresh token still returns the same new token, for a lost response or two tabs, in seconds.",
        default=10,
    ),
    Variable(
        "JWT_KEYS",
        'The signing keys: [{"kid": "2026-11", "key": "32 bytes or more", "sign_from": "2026-11-01T00:00:00Z"}].',
        kinds.key_ring,
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        "REQUIRE_VERIFIED_EMAIL",
        "Set to true to require a verified e-mail address. Registration then does not reveal whether an address exists.",
        kinds.boolean,
        default="false",
    ),
    Variable(
        "ACCOUNT_URL",
        "The pages that mailed links open: they read the token after # and post it to the API. Defaults to "
        "PUBLIC_URL/account.",
        urls.base_url("https", "http"),
    ),
    Variable(
        "EMAIL_URL",
        "The mail server. Without mail, users cannot reset a password. dummymail:// sends no mail.",
        urls.mail_url,
        defaults={"dev": "consolemail://", "test": "memorymail://"},
        required_in=DEPLOYED,
        secret=True,
    ),
    Variable(
        "EMAIL_FROM",
        "The sender of all mails.",
        kinds.mailbox,
        defaults={"dev": "Shipshape <noreply@localhost>", "test": "Shipshape <noreply@testserver>"},
        required_in=DEPLOYED,
    ),
    Variable(
        "EMAIL_REDIRECT",
        "The address that receives all mails instead of their recipients, so that a copy of real data mails no user.",
        kinds.mailbox,
        required_in=frozenset({"staging"}),
    ),
)

RETENTION = (
    days("RETENTION_SESSIONS", "How long sessions are kept after they ended or expired, in days.", default=30),
    days(
        "RETENTION_EVENTS",
        "How long security events are kept (logins, failures, password changes), in days.",
        default=365,
    ),
    days(
        "RETENTION_JOBS",
        "How long jobs are kept after they ended, with the uploads of discarded ones, in days.",
        default=30,
    ),
    days(
        "RETENTION_FILES",
        "How long result files are kept after their job succeeded, in days. The job is kept for RETENTION_JOBS.",
        default=7,
        at_least=1,
    ),
    integer(
        "RETENTION_IDEMPOTENCY",
        "How long a response is stored for requests repeated with the same Idempotency-Key, in hours.",
        default=24,
        at_most=24 * 365,
    ),
)

OPERATIONS = (
    integer(
        "IMPORT_MAX_BYTES",
        "The largest file that can be imported, in bytes.",
        default=64 * 1024**2,
        at_least=1024,
        at_most=10 * 1024**3,
    ),
    integer("JOBS_PER_USER", "The most waiting and running jobs of one user. More are refused (429).", default=100),
    integer(
        "JOBS_RUNNING_PER_USER",
        "The most running jobs of one user, in all workers. Keep it below the number of processes for heavy jobs.",
        default=1,
    ),
    integer(
        "JOBS_FILES_PER_USER",
        "The most bytes of uploads and result files of one user's jobs. Further jobs are refused (429).",
        default=512 * 1024**2,
        at_least=1024,
        at_most=1024**5,
    ),
    integer(
        "JOBS_FILES_TOTAL",
        "The most bytes of uploads and result files of all jobs. Further files are refused (503).",
        default=5 * 1024**3,
        at_least=1024,
        at_most=1024**5,
    ),
    integer("WEB_CONCURRENCY", "Web processes per instance. Heroku-style hosts set it.", default=2, at_most=256),
    integer("WEB_THREADS", "Threads per web process.", default=8, at_most=256),
    Variable(
        "WEB_SERVER",
        "The server of web processes: gunicorn, or granian, which is faster and needs an edge that drops header names with "
        "underscores, as deploy/Caddyfile does.",
        kinds.choice("gunicorn", "granian"),
        default="gunicorn",
    ),
    Variable(
        "PROCESS_KIND",
        "The kind of process: web, worker or command. Selects the database pool and timeouts. bin/web and the "
        "Procfile set it.",
        kinds.choice("web", "worker", "command"),
        default="command",
    ),
)

VARIABLES = (*SERVICE, *STORES, *LIMITS, *ACCOUNTS, *RETENTION, *OBSERVABILITY, *OPERATIONS)
