"""Users, sessions and security events in the admin. It shows no hashes or token ids, and changes things through services."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from apps.accounts.forms import PasswordSetForm, UserCreateForm, UserForm
from apps.accounts.models import EndReason, SecurityEvent, Session, User
from apps.accounts.selectors.users import is_last_administrator
from apps.accounts.services.deletion import LastAdministrator, user_delete
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.sessions import session_end, sessions_end
from apps.accounts.services.users import user_deactivate, user_email_set, user_save

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Accounts.

    Only superusers can grant rights, or change an account that can open the admin. Otherwise anyone with permission to change
    users could become a superuser, or set a superuser's password.
    """

    form = UserForm
    add_form = UserCreateForm
    change_password_form = PasswordSetForm
    list_display = ("email", "name", "is_active", "is_staff", "email_verified", "created_at")
    list_filter = ("is_active", "is_staff", "is_superuser", "email_verified", "groups")
    search_fields = ("email", "name")
    ordering = ("-created_at", "-id")
    show_full_result_count = False
    readonly_fields = ("id", "password_link", "history_links", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("id", "email", "email_verified", "name", "password_link", "history_links")}),
        ("Rights", {"fields": ("is_active", *RIGHTS)}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)
    actions = ("end_sessions",)

    @admin.display(description="password")
    def password_link(self, user: User) -> str:
        """Link to the form that sets a new password. The hash is not shown."""
        return format_html(
            '<a href="{}">Set a new password</a>', reverse("admin:auth_user_password_change", args=[user.pk])
        )

    @admin.display(description="history")
    def history_links(self, user: User) -> str:
        lists = (("session", "Sessions"), ("securityevent", "Security events"))
        links = ((reverse(f"admin:accounts_{name}_changelist"), user.pk, text) for name, text in lists)
        return format_html_join(" · ", '<a href="{}?user__id__exact={}">{}</a>', links)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Read the permissions' content types in the same query, because their names need them."""
        if db_field.name == "user_permissions":
            options["queryset"] = Permission.objects.select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_readonly_fields(request, obj)
        return shown if request.user.is_superuser else (*shown, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_change(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        now, former = timezone.now(), str(form.initial.get("email", ""))
        if change and former != obj.email:
            user_email_set(user=obj, former=former, by="administrator", origin=NOWHERE, now=now)
        if change and not obj.is_active:
            user_deactivate(user=obj, now=now)
        columns = {field.name for field in User._meta.concrete_fields}
        user_save(user=obj, fields=columns.intersection(form.changed_data))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Require no permission for the sessions and jobs that are deleted with a user; protect the last superuser."""
        shown, counts, needed, protected = super().get_deleted_objects(objs, request)
        if is_last_administrator([user.pk for user in objs]):
            protected = [*protected, LastAdministrator.explanation]
        return shown, counts, needed & {str(User._meta.verbose_name)}, protected

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        user_delete(user=obj, now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            user_delete(user=user, now=timezone.now())

    @admin.action(description="End all sessions of the selected users", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        now, chosen = timezone.now(), list(queryset)
        users = [user for user in chosen if _may_change(request, user)]
        ended = sum(sessions_end(user_id=user.pk, reason=EndReason.ADMIN, now=now) for user in users)
        _report(self, request, ended=ended, skipped=len(chosen) - len(users))


def _may_change(request: HttpRequest, user: User | None) -> bool:
    """Return whether the user has no special rights, or the administrator is a superuser."""
    return user is None or request.user.is_superuser or not (user.is_staff or user.is_superuser)


def _report(page: admin.ModelAdmin, request: HttpRequest, *, ended: int, skipped: int) -> None:
    page.message_user(request, f"Sessions ended: {ended}.", messages.SUCCESS)
    if skipped:
        text = f"Skipped: {skipped}. Only superusers can end the sessions of staff and superusers."
        page.message_user(request, text, messages.WARNING)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Groups. Only superusers can change them, because anyone else could give all permissions to a group they are in."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_change_permission = has_delete_permission = has_add_permission


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):
    """Sessions, which can be viewed and ended here. Only signing in starts one."""

    list_display = (
        "id",
        "user",
        "transport",
        "device",
        "address",
        "created_at",
        "last_used_at",
        "expires_at",
        "ended_at",
        "ended_reason",
    )
    list_filter = ("transport", "ended_reason")
    list_select_related = ("user",)
    search_fields = ("user__email", "address")
    ordering = ("-id",)
    show_full_result_count = False
    fields = (*list_display, "rotated_at")
    readonly_fields = fields
    actions = ("end_selected",)

    def save_model(self, request: HttpRequest, obj: Session, form: ModelForm, change: bool) -> None:
        """Do nothing: no field can be edited, and saving the row could reactivate a session that has ended since it was read."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_add_permission

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_session")

    @admin.action(description="End the selected sessions", permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        now, chosen = timezone.now(), list(queryset.select_related("user"))
        sessions = [session for session in chosen if _may_change(request, session.user)]
        ended = sum(session_end(session_id=session.pk, reason=EndReason.ADMIN, now=now) for session in sessions)
        _report(self, request, ended=ended, skipped=len(chosen) - len(sessions))


@admin.register(SecurityEvent)
class SecurityEventAdmin(admin.ModelAdmin):
    """Security events, read-only. Only retention deletes them."""

    list_display = ("created_at", "kind", "user", "address", "device", "session_id", "request_id")
    list_filter = ("kind", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-created_at", "-id")
    show_full_result_count = False
    fields = ("id", *list_display, "detail")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission
