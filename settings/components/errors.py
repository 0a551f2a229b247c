"""errors (136): every failure is a problem document. DRF's exception handler is in base.py."""

CSRF_FAILURE_VIEW = "apps.practices.errors.views.csrf_failure"
