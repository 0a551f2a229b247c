"""errors (136): whatever fails is answered as a problem document. DRF's exception handler is named in base.py."""

CSRF_FAILURE_VIEW = "apps.practices.errors.views.csrf_failure"
