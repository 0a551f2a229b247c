"""Routes below `/api/v1/`."""

from django.urls import path

from apps.accounts import (
    schema as schema,  # its import tells the OpenAPI document about bearer tokens
)
from apps.accounts.views import credentials, me, users

urlpatterns = [
    path("auth/register", credentials.Register.as_view(), name="auth-register"),
    path("auth/login", credentials.Login.as_view(), name="auth-login"),
    path("auth/refresh", credentials.Refresh.as_view(), name="auth-refresh"),
    path("auth/logout", credentials.Logout.as_view(), name="auth-logout"),
    path("me", me.Me.as_view(), name="me"),
    path("users", users.UserList.as_view(), name="users"),
    path("users/<uuid:id>", users.UserDetail.as_view(), name="user"),
]
