"""The admin site of the project."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    """Django's admin, with the sign-in of `apps.accounts`."""

    default_site = "apps.accounts.sites.Site"
