"""Settings of every environment. Each practice's values are in ``components/<word>.py``; the lists below show the order.

dev, staging, prod and test import this module and change a few values.
"""

from pathlib import Path

from settings.env import ENVIRONMENT

ENVIRONMENT.require_valid()

# Components do not use each other's names.
# ruff: noqa: E402, F403 - the environment is checked before components read it, and all their names are settings
from settings.components.caching import *
from settings.components.database import *
from settings.components.environment import *
from settings.components.errors import *
from settings.components.headers import *
from settings.components.https import *
from settings.components.jobs import *
from settings.components.mail import *
from settings.components.observability import *
from settings.components.schema import *
from settings.components.throttling import *
from settings.components.tokens import *
from settings.components.validation import *

_ROOT = Path(__file__).resolve().parent.parent

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.PermissionBackend"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "apps.accounts",  # before django.contrib.auth, whose changepassword it replaces
    "project.apps.AdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "csp",
    "django_structlog",
    "apps.practices",
    "apps.jobs",
    "apps.operations",
    # Your apps:
    "apps.articles",
]

# Outermost first. Middlewares above ProblemMiddleware must not fail; failures below it become problem documents.
# Public hits of the cache and reads with a token skip them (project/replay.py, project/reads.py).
MIDDLEWARE = [
    "apps.practices.mechanisms.facts.RequestFactsMiddleware",  # id, scheme and client address, for everything below
    "apps.practices.observability.middleware.ObservabilityMiddleware",  # access line, metrics, X-Request-ID
    "apps.practices.headers.middleware.HeadersMiddleware",  # on every response, including errors and cached ones
    "django.middleware.security.SecurityMiddleware",
    "apps.practices.headers.middleware.PolicyMiddleware",  # content security policy (django-csp)
    "apps.practices.errors.middleware.ProblemMiddleware",  # turns failures below into problem documents
    "apps.operations.middleware.HealthMiddleware",  # /healthz, before the Host check
    "apps.practices.throttling.middleware.ThrottlingMiddleware",  # limits by address
    "apps.practices.headers.middleware.OriginMiddleware",  # CORS, so that browser apps can read the errors below
    "apps.practices.https.middleware.HostMiddleware",
    "apps.practices.https.middleware.HttpsMiddleware",
    "apps.practices.validation.middleware.BodyMiddleware",  # limits how a body is read, and reads the rest after the view
    "apps.practices.validation.middleware.RequestBoundsMiddleware",  # refuses a body by its headers: size and type
    "apps.practices.caching.middleware.ConditionalMiddleware",  # ETag, Cache-Control and 304 of the API
    "apps.practices.caching.middleware.CachingMiddleware",  # public responses from the cache
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # For pages with a sign-in; API requests pass unchanged (project/middleware.py).
    "project.middleware.PageSessionMiddleware",
    "project.middleware.PageCsrfMiddleware",
    "project.middleware.PageAuthenticationMiddleware",
    "project.middleware.PageMessageMiddleware",
    "apps.practices.database.routing.ReplicaMiddleware",  # only with DATABASE_REPLICA_URL
]

SILENCED_SYSTEM_CHECKS = [
    "security.W002",  # X-Frame-Options comes from HeadersMiddleware
    "security.W003",  # PageCsrfMiddleware is Django's, kept off the API
    "security.W021",  # HSTS preloading cannot be undone, so it is the owner's decision
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

REST_FRAMEWORK = {
    # tokens
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.accounts.authentication.BearerAuthentication",
        "apps.accounts.authentication.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    # throttling
    "DEFAULT_THROTTLE_CLASSES": ["apps.practices.throttling.throttles.UserThrottle"],
    # validation
    "DEFAULT_PARSER_CLASSES": ["apps.practices.validation.parsers.BoundedJSONParser"],
    # caching and speed
    "DEFAULT_RENDERER_CLASSES": ["apps.practices.mechanisms.json.FastJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "apps.practices.mechanisms.negotiation.CachedNegotiation",
    # errors
    "EXCEPTION_HANDLER": "apps.practices.errors.handler.handle",
    # OpenAPI
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": None,
    "DATETIME_FORMAT": "iso-8601",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
_COLLECTED = _ROOT / "staticfiles"
STATIC_ROOT: Path | None = _COLLECTED
# A host's build collects static files. In a clone they are found in the apps' folders.
WHITENOISE_USE_FINDERS = not (_COLLECTED / "admin").exists()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
