"""The thirteen practices: number in the guide, word, promise, and the tools that the guide names for Node.js."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Practice:
    """One practice. ``try_it`` is a command that demonstrates it on a running development server."""

    number: int
    word: str
    promise: str
    replaces: str
    here: str
    try_it: str


PRACTICES = (
    Practice(
        number=128,
        word="caching",
        promise="Hot reads come from memory or Redis. After a write they are stale for at most a stated time.",
        replaces="node-cache, ioredis",
        here="remember(), cached responses with ETags, django-redis behind a breaker",
        try_it="./manage.py prove --practice caching",
    ),
    Practice(
        number=129,
        word="scaling",
        promise="Processes and instances run behind a load balancer. A rolling restart fails no request.",
        replaces="cluster, PM2",
        here="gunicorn, health checks, deploy/Caddyfile",
        try_it="curl -s {url}/readyz",
    ),
    Practice(
        number=130,
        word="database",
        promise="Lists have keyset pages, projection and bounds. Connections are pooled, and every wait has a timeout.",
        replaces="pg.Pool, Mongoose lean() and indexes",
        here="KeysetList, psycopg 3 and its pool",
        try_it="./manage.py prove --practice database",
    ),
    Practice(
        number=131,
        word="throttling",
        promise="Limits per address, user and scope are atomic, and a forged header does not bypass them.",
        replaces="express-rate-limit",
        here="one GCRA script in Redis, DRF throttles on it, django-ratelimit on forms",
        try_it="curl -si {url}/api/v1/me | grep -i ^ratelimit",
    ),
    Practice(
        number=132,
        word="headers",
        promise="Every response has the headers that Helmet sets, and a content security policy without unsafe-*.",
        replaces="helmet, cors",
        here="SecurityMiddleware, django-csp, django-cors-headers",
        try_it="curl -si {url}/healthz",
    ),
    Practice(
        number=133,
        word="validation",
        promise="Unknown fields are refused, HTML is cleaned, size and depth are bounded.",
        replaces="Joi, express-validator, sanitize-html",
        here="strict serializers, nh3, bounded parsers",
        try_it="curl -s {url}/api/v1/auth/login -H 'Content-Type: application/json' -d '{{\"emial\": 1}}'",
    ),
    Practice(
        number=134,
        word="https",
        promise="Pages are redirected to https, API calls over http are refused, cookies are Secure.",
        replaces="express-sslify, https.createServer",
        here="HttpsMiddleware, HSTS, automatic certificates at the edge",
        try_it="./manage.py prove --practice https",
    ),
    Practice(
        number=135,
        word="observability",
        promise="JSON logs have a request id that follows the work into Celery. Metrics cover the whole fleet.",
        replaces="winston, morgan, prom-client",
        here="structlog, prometheus-client, Sentry",
        try_it="curl -si {url}/healthz | grep -i ^x-request-id",
    ),
    Practice(
        number=136,
        word="errors",
        promise="Every error is a problem document with the request id, and nothing internal leaks.",
        replaces="Express error middleware, express-async-errors",
        here="RFC 9457 problem+json from one place",
        try_it="curl -s {url}/api/v1/nowhere",
    ),
    Practice(
        number=137,
        word="jobs",
        promise="Heavy work runs outside the request. Accepted work is never lost.",
        replaces="worker_threads, Bull",
        here="jobs in PostgreSQL, run by Celery",
        try_it="./manage.py prove --practice jobs",
    ),
    Practice(
        number=138,
        word="environment",
        promise="Env files have layers, and all mistakes are reported at once, at start-up.",
        replaces="dotenv, envalid",
        here="settings/env.py on django-environ",
        try_it="./manage.py env",
    ),
    Practice(
        number=139,
        word="shutdown",
        promise="A stop loses no request in flight and no job.",
        replaces="process.on('SIGTERM'), http-terminator",
        here="project/gunicorn.py, Celery's soft shutdown",
        try_it="./manage.py prove --practice shutdown",
    ),
    Practice(
        number=140,
        word="tokens",
        promise="Access tokens live 15 minutes, refresh tokens rotate, and sessions can be revoked.",
        replaces="jsonwebtoken, passport-jwt",
        here="SimpleJWT with a row per session",
        try_it="./manage.py prove --practice tokens",
    ),
)

WORDS = tuple(practice.word for practice in PRACTICES)
