"""Which admin the project has."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    """Django's admin, with the doors of `apps.accounts`."""

    default_site = "apps.accounts.sites.Site"
