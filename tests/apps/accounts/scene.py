"""What the walk over operations.txt acts on."""

from django.contrib.auth.models import Group

from apps.accounts.models import RefreshFamily, User
from tests.apps.accounts.factories import PASSWORD, sign_in


def _sign_in(owner: User) -> RefreshFamily:
    return RefreshFamily.objects.get(pk=sign_in(owner).family_id)


OBJECTS = {
    "account": lambda owner: owner,
    "sign-in": _sign_in,
    "group": lambda owner: Group.objects.create(name=f"A group of {owner.pk}"),
}
BODIES = {
    "auth_register": {"email": "new@example.com", "password": PASSWORD, "name": "New"},
    "auth_login": lambda owner: {"email": owner.email, "password": PASSWORD},
    "auth_refresh": lambda owner: {"refresh": sign_in(owner).refresh},
    "me_update": {"name": "Another name"},
}
ADMIN_CLOSED = {"refreshfamily": {"add", "delete"}}
