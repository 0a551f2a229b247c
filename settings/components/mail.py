"""Mail: the server, the sender, and the address that receives all mails in staging."""

from urllib.parse import unquote, urlsplit

from settings.env import ENVIRONMENT

_SMTP = "django.core.mail.backends.smtp.EmailBackend"
# The backend and the default port, by the scheme of EMAIL_URL. smtps is implicit TLS (RFC 8314), smtp+tls is STARTTLS.
_KINDS = {
    "smtp": (_SMTP, 25),
    "smtp+tls": (_SMTP, 587),
    "smtps": (_SMTP, 465),
    "smtp+ssl": (_SMTP, 465),
    "consolemail": ("django.core.mail.backends.console.EmailBackend", 0),
    "filemail": ("django.core.mail.backends.filebased.EmailBackend", 0),
    "memorymail": ("django.core.mail.backends.locmem.EmailBackend", 0),
    "dummymail": ("django.core.mail.backends.dummy.EmailBackend", 0),
}
_ADDRESS: str = ENVIRONMENT["EMAIL_URL"] or "dummymail://"
_SCHEME, _, _REST = _ADDRESS.partition("://")
_SERVER = urlsplit(_ADDRESS)
_BACKEND, _PORT = _KINDS[_SCHEME]

EMAIL_HOST: str = _SERVER.hostname or "localhost"
EMAIL_PORT: int = (_SERVER.port if _PORT else None) or _PORT
EMAIL_HOST_USER: str = unquote(_SERVER.username or "")
EMAIL_HOST_PASSWORD: str = unquote(_SERVER.password or "")
EMAIL_USE_TLS: bool = _SCHEME == "smtp+tls"
EMAIL_USE_SSL: bool = _SCHEME in ("smtps", "smtp+ssl")
EMAIL_FILE_PATH: str | None = _REST if _SCHEME == "filemail" else None  # a folder
EMAIL_TIMEOUT = 10  # seconds for each wait for the server; workers send mails and retry
EMAIL_REDIRECT: str = ENVIRONMENT["EMAIL_REDIRECT"] or ""
EMAIL_REDIRECTED_BACKEND = _BACKEND
EMAIL_BACKEND = "apps.practices.environment.mail.RedirectBackend" if EMAIL_REDIRECT else _BACKEND
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENVIRONMENT["EMAIL_FROM"] or "noreply@localhost"
