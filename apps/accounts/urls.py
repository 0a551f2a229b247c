"""Routes below `/api/v1/`."""

from django.urls import path

from apps.accounts import (
    schema as schema,  # its import tells the OpenAPI document about bearer tokens
)
from apps.accounts import views

urlpatterns = [
    path("auth/register", views.Register.as_view(), name="auth-register"),
    path("auth/login", views.Login.as_view(), name="auth-login"),
    path("auth/refresh", views.Refresh.as_view(), name="auth-refresh"),
    path("auth/logout", views.Logout.as_view(), name="auth-logout"),
    path("me", views.Me.as_view(), name="me"),
    path("users", views.UserList.as_view(), name="users"),
    path("users/<uuid:id>", views.UserDetail.as_view(), name="user"),
]
