"""Access to the admin: every page and action of every model, as staff with no permission, with one, or with all.

The rule is Django's own and the same for each model: `view` opens lists, objects and their history, `change`, `add` and `delete`
what they say, the staff flag by itself nothing but the door. What a model's admin closes to everybody stands in its app's
``scenario.py`` (``ADMIN_CLOSED``), and what it leaves to superusers (``ADMIN_SUPERUSERS``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, reverse

from apps.accounts.models import User
from tests.access import Scenario, scenarios, stored, undone
from tests.apps.accounts.factories import admin_sign_in, user_create

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)
KINDS = ("view", "change", "add", "delete")
# What each staff member holds of the model. A form to add or change is of use to those only who may look at it.
HELD: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "view": ("view",),
    "change": ("view", "change"),
    "add": ("view", "change", "add"),
    "delete": ("view", "delete"),
    "superuser": KINDS,
}
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _rights_alone(settings: Any) -> None:
    """Leave out the watch for N+1, which costs more than the pages: other tests of the admin keep it."""
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if not path.startswith("zeal.")]


def signed_in(user: User) -> Client:
    client = Client(headers={"accept": "text/html"})
    admin_sign_in(client, user)
    return client


def staff(model: type[Model], name: str) -> Client:
    """Return a staff member with HELD[name] of the model; without any, they hold those of all others."""
    if name == "superuser":
        return signed_in(user_create(is_staff=True, is_superuser=True))
    options = model._meta
    of_model = Permission.objects.filter(
        content_type__app_label=options.app_label, content_type__model=options.model_name
    )
    codenames = [f"{kind}_{options.model_name}" for kind in HELD[name]]
    user = user_create(is_staff=True)
    held = of_model.filter(codename__in=codenames) if codenames else Permission.objects.exclude(pk__in=of_model)
    user.user_permissions.set(held)
    return signed_in(user)


def held_of(scenario: Scenario, model: type[Model], name: str) -> set[str]:
    """Return what HELD[name] opens: less where the model's admin is closed to everybody, or to all but superusers."""
    model_name = str(model._meta.model_name)
    kept = set() if name == "superuser" else scenario.admin_superusers.get(model_name, set())
    return set(HELD[name]) - scenario.admin_closed.get(model_name, set()) - kept


def scenario_with(model: type[Model]) -> tuple[Scenario, Model]:
    """Return the scenario that has an object of the model, and that object."""
    owner = user_create()
    for scenario in scenarios().values():
        for make in scenario.objects.values():
            thing = make(owner)
            if isinstance(thing, model):
                return scenario, thing
    raise AssertionError(f"no scenario.py has an object of {model._meta.label}, which is registered in the admin")


def pages(model: type[Model], thing: Model) -> dict[str, str]:
    """Every address of the model's admin: the standard ones by kind, those it adds by their names."""
    prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    known = {
        "list": reverse(f"{prefix}_changelist"),
        **{kind: reverse(f"{prefix}_{kind}", args=[thing.pk]) for kind in ("change", "delete", "history")},
        "add": reverse(f"{prefix}_add"),
    }
    for pattern in admin.site._registry[model].get_urls():
        if isinstance(pattern, URLPattern) and pattern.name:
            try:
                address = reverse(f"admin:{pattern.name}", args=[thing.pk])
            except NoReverseMatch:
                address = reverse(f"admin:{pattern.name}")
            if address not in known.values():
                known[pattern.name] = address
    return known


def needed(page: str) -> str:
    """Return the permission that a page requires; pages that an admin adds change something."""
    return {"list": "view", "history": "view", "add": "add", "delete": "delete"}.get(page, "change")


def rows_of_interest() -> Mapping[str, str]:
    return {table: digest for table, digest in stored().items() if table != "django_session"}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_staff_open_what_they_hold_the_permission_for(model: type[Model], name: str) -> None:
    scenario, thing = scenario_with(model)
    client = staff(model, name)
    held = held_of(scenario, model, name)
    before = rows_of_interest()
    for page, path in pages(model, thing).items():
        reading = "view" if page == "change" else needed(page)
        answer = client.get(path)
        assert answer.status_code == (200 if reading in held else 403), f"GET {path}"
        with undone():
            answer = client.post(path, {"post": "yes"} if page == "delete" else {})
            allowed = needed(page) in held
            assert answer.status_code in ((200, 302) if allowed else (403,)), f"POST {path}: {answer.status_code}"
            if not allowed or page == "delete":
                assert (rows_of_interest() != before) is allowed, f"POST {path}"
    assert rows_of_interest() == before


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_actions_change_nothing_for_those_who_may_not(model: type[Model], name: str) -> None:
    scenario, thing = scenario_with(model)
    held = held_of(scenario, model, name)
    client = staff(model, name)
    own = {
        action if isinstance(action, str) else action.__name__ for action in admin.site._registry[model].actions or ()
    }
    before = rows_of_interest()
    for action in {"delete_selected", *own}:
        with undone():
            chosen = {"action": action, "_selected_action": str(thing.pk), "post": "yes"}
            answer = client.post(pages(model, thing)["list"], chosen)
            assert answer.status_code in ((200, 302) if "view" in held else (403,)), action
            may = "delete" in held if action == "delete_selected" else "change" in held
            if not may:
                assert rows_of_interest() == before, f"{name} did {action}"
            elif action == "delete_selected":
                assert not model._default_manager.filter(pk=thing.pk).exists()


def test_the_door_opens_to_staff_and_shows_them_nothing() -> None:
    client = signed_in(user_create(is_staff=True))
    answer = client.get("/admin/")
    assert answer.status_code == 200
    assert answer.context["app_list"] == []
    assert signed_in(user_create(is_staff=True, is_superuser=True)).get("/admin/").context["app_list"] != []


def test_nobody_else_gets_past_the_door() -> None:
    """Not without an account, not with every permission but without the staff flag, not once deactivated."""
    everything = user_create()
    everything.user_permissions.set(Permission.objects.all())
    gone = user_create(is_staff=True, is_superuser=True)
    clients = [Client(), signed_in(everything), signed_in(gone)]
    User.objects.filter(pk=gone.pk).update(is_active=False)
    site = [
        f"/admin/{pattern.pattern}"
        for pattern in admin.site.get_urls()
        if isinstance(pattern, URLPattern) and pattern.name
    ]
    paths = [path for path in site if path != LOGIN and "<" not in path and "(" not in path and "logout" not in path]
    paths += [path for model in MODELS for path in pages(model, scenario_with(model)[1]).values()]
    assert len(paths) > 5 * len(MODELS)
    before = rows_of_interest()
    for client in clients:
        for path in paths:
            for answer in (client.get(path), client.post(path, {"post": "yes"})):
                assert answer.status_code in (302, 403), f"{path}: {answer.status_code}"
                if answer.status_code == 302:
                    assert answer.headers["Location"].startswith(LOGIN), f"{path} leads to {answer.headers['Location']}"
    assert rows_of_interest() == before
