"""What a conflict tells: the field, or that something refers to the row; to the log, no row's text."""

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.practices.observability.redaction import HIDDEN, redact_text
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem
from tests.sample.models import Note
from tests.sample.services import note_create, remark_create

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "Nobody else should read this"
REMARKS = "/api/v1/sample/remarks"


@pytest.fixture
def owner() -> User:
    return user_create()


def test_unique_violation_names_its_fields(client: Client, owner: User, capfd: pytest.CaptureFixture[str]) -> None:
    note = note_create(owner=owner, title="One")
    body = {"note": str(note.pk), "text": SECRET}
    assert client.post(REMARKS, body, content_type="application/json", **bearer(owner)).status_code == 201
    capfd.readouterr()
    response = client.post(REMARKS, body, content_type="application/json", **bearer(user_create()))
    problem = assert_problem(response, 409, "conflict")
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/note", "unique"), ("/text", "unique")]
    assert SECRET not in response.content.decode()
    logged = capfd.readouterr().err
    assert "stored_value_refused" in logged
    assert "sample_remark_once" in logged
    assert SECRET not in logged


def test_deletion_of_a_referenced_row_is_refused(client: Client, owner: User) -> None:
    note = note_create(owner=owner, title="One")
    remark_create(owner=user_create(), note=note, text=SECRET)
    response = client.delete(f"/api/v1/sample/notes/{note.pk}", **bearer(owner))
    told = assert_problem(response, 409, "conflict")["detail"]
    assert told == "This cannot be deleted: other records refer to it. Delete or change them first."
    assert Note.objects.filter(pk=note.pk).exists()


def test_unreferenced_row_is_deleted(client: Client, owner: User) -> None:
    note = note_create(owner=owner, title="One")
    assert client.delete(f"/api/v1/sample/notes/{note.pk}", **bearer(owner)).status_code == 204


@pytest.mark.parametrize(
    "detail", ["Key (text)=(a secret\nof lines) already exists.", "Failing row contains (1, a secret)."]
)
def test_postgresql_detail_is_redacted(detail: str) -> None:
    text = f'violates "one_constraint"\nDETAIL:  {detail}\n\nThe above exception was the direct cause'
    assert (
        redact_text(text) == f'violates "one_constraint"\nDETAIL:  {HIDDEN}\n\nThe above exception was the direct cause'
    )
