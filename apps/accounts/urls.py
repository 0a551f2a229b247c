"""Routes below `/api/v1/`."""

from django.urls import path

from apps.accounts import (
    schema as schema,  # its import registers the OpenAPI extensions
)
from apps.accounts.views import credentials, emails, me, passwords, sessions, users

urlpatterns = [
    path("auth/register", credentials.Register.as_view(), name="auth-register"),
    path("auth/login", credentials.Login.as_view(), name="auth-login"),
    path("auth/refresh", credentials.Refresh.as_view(), name="auth-refresh"),
    path("auth/logout", credentials.Logout.as_view(), name="auth-logout"),
    path("auth/csrf", credentials.CSRF.as_view(), name="auth-csrf"),
    path("auth/sessions", sessions.Sessions.as_view(), name="auth-sessions"),
    path("auth/sessions/<uuid:id>", sessions.SessionDetail.as_view(), name="auth-session"),
    path("auth/email/verify", emails.EmailVerify.as_view(), name="auth-email-verify"),
    path("auth/email/verify/request", emails.EmailVerifyRequest.as_view(), name="auth-email-verify-request"),
    path("auth/password/change", passwords.PasswordChange.as_view(), name="auth-password-change"),
    path("auth/password/reset", passwords.PasswordReset.as_view(), name="auth-password-reset"),
    path("auth/password/reset/confirm", passwords.PasswordResetConfirm.as_view(), name="auth-password-reset-confirm"),
    path("me", me.Me.as_view(), name="me"),
    path("me/export", me.MeExport.as_view(), name="me-export"),
    path("users", users.UserList.as_view(), name="users"),
    path("users/<uuid:id>", users.UserDetail.as_view(), name="user"),
]
