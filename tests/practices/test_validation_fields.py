"""validation, the fields: each takes what its column holds and an answer can show, and refuses the rest."""

import datetime
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from zeal import zeal_context

from apps.accounts.models import User
from apps.practices.mechanisms.json import FastJSONRenderer
from apps.practices.validation.dates import StrictDateField, StrictDateTimeField
from apps.practices.validation.fields import (
    BoundedDecimalField,
    BoundedFloatField,
    BoundedIntegerField,
    BoundedJSONField,
    CanonicalUUIDField,
    CleanSlugField,
    EmailAddressField,
    PlainTextField,
    ReferenceField,
    RichTextField,
    WebAddressField,
)
from apps.practices.validation.forms import ReferenceFormField
from apps.practices.validation.text import clean_plain
from tests.apps.accounts.factories import user_create
from tests.sample.models import Effect, Note
from tests.sample.selectors import note_readable
from tests.sample.serializers import SampleRemarkWriteSerializer
from tests.sample.services import note_create, remark_create

ID = "01890000-0000-7000-8000-00000000000a"
BOUNDED = {"maxLength", "enum", "const"}
FORMS = {"uuid", "date-time", "date", "time", "binary", "decimal"}  # bounded by what they are
NO_ADDRESSES = (
    "nobody",
    "a b@example.com",
    "a@b@example.com",
    '"a"@example.com',
    "a@[127.0.0.1]",
    "a@127.0.0.1",
    "a@localhost",
    "a@example.com.",
    "a@ex_ample.com",
    "a@-example.com",
    "a@xn--a.example",  # encodes a control character
    "a@☕.example",  # IDNA 2008 has no pictures
    ".a@example.com",
    f"{'a' * 65}@example.com",
    "\N{KELVIN SIGN}a@example.com",
    "é@example.com",
)
DATE, MOMENT = StrictDateField(), StrictDateTimeField()
DECIMAL = BoundedDecimalField(max_digits=12, decimal_places=2)


def refused(field: Any, value: Any) -> str:
    """Return the error code of a refusal."""
    with pytest.raises(serializers.ValidationError) as error:
        field.run_validation(value)
    return error.value.get_codes()[0]


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (BoundedIntegerField(), "-7", -7),
        (BoundedIntegerField(), 2**31 - 1, 2**31 - 1),
        (BoundedFloatField(min_value=0, max_value=9), "1.5", 1.5),
        (CanonicalUUIDField(), ID.upper(), uuid.UUID(ID)),
        (CleanSlugField(max_length=9), "\uf900", "\u8c48"),
        (CleanSlugField(max_length=9, lowercase=True), "İzmir", "izmir"),
        (WebAddressField(max_length=99), "https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
        (EmailAddressField(), " Ann@example.com ", "ann@example.com"),
        (EmailAddressField(), "a@be\u0301.example", "a@xn--b-bga.example"),
        (EmailAddressField(), "a@fa\xdf.example", "a@xn--fa-hia.example"),
        (EmailAddressField(), "a@XN--FA-HIA.example", "a@xn--fa-hia.example"),
        (EmailAddressField(), "a@r3---sn.example", "a@r3---sn.example"),
        (DECIMAL, "-12.30", Decimal("-12.30")),
        (DECIMAL, 0.1, Decimal("0.1")),
        (DECIMAL, 10**9, Decimal(10**9)),
        (BoundedJSONField(max_length=99), {"a": [1, "e\u0301\n", None]}, {"a": [1, "e\u0301\n", None]}),
        (PlainTextField(max_length=9), "a\u200db", "a\u200db"),  # the joiner is part of words and emoji
        (PlainTextField(max_length=9), "\u0645\u06cc\u200c", "\u0645\u06cc\u200c"),
        (PlainTextField(max_length=9), "\x85a\r\n", "a"),  # surrounding white space goes first, control characters included
        (RichTextField(max_length=99), "\x1ca\x1c", "a"),
        (RichTextField(max_length=99), "<img src='x.png'>", '<img src="x.png">'),
        (MOMENT, "2024-01-01T00:00:00+14:00", datetime.datetime(2023, 12, 31, 10, tzinfo=datetime.UTC)),
    ],
)  # fmt: skip
def test_fields_accept(field: Any, value: Any, stored: Any) -> None:
    assert field.run_validation(value) == stored


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *((BoundedIntegerField(), value, "invalid") for value in (True, "1_000", "\u0661", "0x1", "1.5", [], {}, "9" * 21)),
        (BoundedIntegerField(), 2**31, "max_value"),
        (BoundedIntegerField(), -(2**31) - 1, "min_value"),
        (BoundedIntegerField(), 10**40, "max_value"),
        *((BoundedFloatField(min_value=0, max_value=9), value, "invalid") for value in ("nan", "-inf", True, "x", [])),
        (BoundedFloatField(min_value=0, max_value=9), 10**400, "overflow"),
        (BoundedFloatField(min_value=0, max_value=9), 1e300, "max_value"),
        *((CanonicalUUIDField(), value, "invalid") for value in (
            1, True, f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("-", ""), "x", [], 10**60)),
        *((CleanSlugField(max_length=9), value, "invalid") for value in ("a b", "a/b", "\u0301a", "a-\u0301", "a\u200cb")),
        (CleanSlugField(max_length=9), "a\u202eb", "bidi"),
        *((WebAddressField(max_length=99), value, "invalid") for value in (
            "javascript:alert(1)", "ftp://example.com", "//example.com", "data:text/html,x", "https://a:b@example.com",
            "https://[x", "http://")),
        (WebAddressField(max_length=99), "https://example.com/\u202egnp.exe", "bidi"),
        (WebAddressField(max_length=99), "https://example.com/\x07", "control"),
        (BoundedJSONField(max_length=9), ["x" * 9], "max_length"),
        (BoundedJSONField(max_length=99, depth=2), [[[]]], "depth"),
        (BoundedJSONField(max_length=99), {"a\u202e": 1}, "bidi"),
        (BoundedJSONField(max_length=99), ["\x00"], "nul"),
        (BoundedJSONField(max_length=99), [2**53], "number"),
        (BoundedJSONField(max_length=99), [math.nan], "invalid"),
        (PlainTextField(max_length=9), "\u200b\u2060", "blank"),
        (RichTextField(max_length=99), "<script>x</script>", "blank"),
        *((DATE, value, "invalid") for value in ("0000-01-01", "10000-01-01", "2024-02-30", 5, [])),
        *((MOMENT, value, "invalid") for value in (
            "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2024-01-01T00:00:00+99:00", 5, {})),
        *((MOMENT, value, "invalid") for value in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
        *((DECIMAL, value, "invalid") for value in (
            "nan", "sNaN", "Infinity", True, "x", [], "1e400", "1e999999999", "1_000", "\u0661", "1" * 101, "-", ".", "")),
        *((DECIMAL, value, "max_digits") for value in ("1" * 13, 10**12, 1e300)),
        *((DECIMAL, value, "max_decimal_places") for value in ("0.001", 1e-3)),
        *((EmailAddressField(), value, "bidi") for value in ("a@example.coma\u202eb",)),
        *((EmailAddressField(), value, "invalid") for value in NO_ADDRESSES),
    ],
)  # fmt: skip
def test_fields_refuse(field: Any, value: Any, code: str) -> None:
    assert refused(field, value) == code


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
@settings(derandomize=True, deadline=None, database=None)
@pytest.mark.django_db
def test_accepted_json_is_stored_unchanged(document: Any) -> None:
    try:
        value = BoundedJSONField(max_length=500).run_validation(document)
    except serializers.ValidationError:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
        stored = json.loads(cursor.fetchone()[0])
    assert json.loads(FastJSONRenderer().render({"value": stored})) == {"value": document}


@given(st.text(max_size=30))
@settings(derandomize=True, deadline=None, database=None)
def test_slug_from_any_text_is_clean(text: str) -> None:
    try:
        slug = CleanSlugField(max_length=30).run_validation(text)
    except serializers.ValidationError:
        return
    assert clean_plain(slug) == slug


@pytest.mark.django_db
def test_reference_is_found_in_one_query() -> None:
    owner = user_create()
    shown, hidden = note_create(owner=owner, title="Shown"), note_create(owner=owner, title="Hidden", published=False)
    field = bound(ReferenceField(Note, readable=note_readable), viewer=user_create())
    with CaptureQueriesContext(connection) as queries:
        assert field.run_validation(str(shown.pk)) == shown
    assert len(queries) == 1
    assert {refused(field, value) for value in (str(hidden.pk), ID)} == {"does_not_exist"}
    for wrong in (1, True, "x", "\x00", [], {}, f"{{{shown.pk}}}"):
        assert refused(field, wrong) == "incorrect_type"
    numbered = bound(ReferenceField(Effect, readable=lambda viewer: Effect.objects.all()), viewer=owner)
    effect = Effect.objects.create(job_id=ID)
    assert numbered.run_validation(effect.pk) == effect
    assert {refused(numbered, value) for value in (2**63 - 1, "0")} == {"does_not_exist"}
    assert {refused(numbered, value) for value in (2**63, 10**30, True, "x", 1.5, [])} == {"incorrect_type"}


@pytest.mark.django_db
def test_two_references_to_one_model_are_allowed() -> None:
    """Allow what an N+1 detector, in development and in tests, would take for one: two calls of get() on a line."""
    owner = user_create()
    given = {name: str(note_create(owner=owner, title=name).pk) for name in ("first", "second")}
    fields = {name: ReferenceField(Note, readable=note_readable) for name in given}
    serializer = type("Pair", (serializers.Serializer,), fields)
    form = type("PairForm", (forms.Form,), {name: ReferenceFormField(Note) for name in given})
    with zeal_context():
        wire, page = serializer(data=given, context={"viewer": owner}), form(given)
        for field in page.fields.values():
            field.confine(note_readable(owner))
        assert wire.is_valid()
        assert page.is_valid()
    assert {name: str(note.pk) for name, note in wire.validated_data.items()} == given
    assert page.cleaned_data == wire.validated_data


@pytest.mark.django_db
def test_unreadable_and_missing_references_look_the_same() -> None:
    owner, other = user_create(), user_create()
    hidden = str(note_create(owner=owner, title="Hidden", published=False).pk)

    def answer(viewer: User | AnonymousUser, value: str) -> str:
        with pytest.raises(serializers.ValidationError) as refusal:
            bound(ReferenceField(Note, readable=note_readable), viewer=viewer).run_validation(value)
        return str(refusal.value.detail).replace(value, "")

    for stranger in (other, AnonymousUser()):
        assert answer(stranger, hidden) == answer(stranger, ID)
        field = ReferenceFormField(Note)
        field.confine(note_readable(stranger))
        with pytest.raises(ValidationError):
            field.clean(hidden)
    assert bound(ReferenceField(Note, readable=note_readable), viewer=owner).run_validation(hidden).title == "Hidden"


@pytest.mark.django_db
def test_existing_reference_may_stay() -> None:
    """Save the form unchanged for an editor of a remark on a note that they may not read."""
    owner, editor = user_create(), user_create()
    kept, hidden = (note_create(owner=owner, title=title, published=False) for title in ("Kept", "Hidden"))
    remark = remark_create(owner=owner, note=kept, text="One")
    serializer = SampleRemarkWriteSerializer(remark, data={}, context={"viewer": editor})
    assert serializer.fields["note"].run_validation(str(kept.pk)) == kept
    assert refused(serializer.fields["note"], str(hidden.pk)) == "does_not_exist"
    field = ReferenceFormField(Note)
    field.confine(note_readable(editor), current=kept.pk)
    assert field.clean(str(kept.pk)) == kept
    with pytest.raises(ValidationError):
        field.clean(str(hidden.pk))


def test_reference_requires_viewer_and_rule() -> None:
    with pytest.raises(TypeError, match="readable"):
        ReferenceField(Note)
    serializer = SampleRemarkWriteSerializer(data={"note": ID, "text": "One"})
    with pytest.raises(ImproperlyConfigured, match="viewer"):
        serializer.is_valid()
    with pytest.raises(ValidationError):
        ReferenceFormField(Note).clean("1")


def bound(field: ReferenceField, *, viewer: User | AnonymousUser) -> serializers.Field:
    """Return the field as in a serializer for ``viewer``."""
    serializer = type("One", (serializers.Serializer,), {"one": field})(context={"viewer": viewer})
    return serializer.fields["one"]


@pytest.mark.django_db
@pytest.mark.parametrize("value", [ID, "x", "\x00", "1", f"{{{ID}}}x"])
def test_form_refuses_missing_references(value: str) -> None:
    field = ReferenceFormField(Note)
    field.confine(Note.objects.all())
    with pytest.raises(ValidationError) as refusal:
        field.clean(value)
    assert refusal.value.code == "invalid_choice"
    assert ReferenceFormField(Note, required=False).clean("") is None


def test_bounds_of_fields_are_required() -> None:
    for field in (CleanSlugField, WebAddressField, BoundedJSONField):
        with pytest.raises(TypeError, match="max_length"):
            field()
    with pytest.raises(TypeError, match="min_value"):
        BoundedFloatField()


def _unbounded(schema: dict[str, Any], where: str, components: dict[str, Any]) -> list[str]:
    """Return the places below a request schema that have no bound."""
    if "$ref" in schema:
        return _unbounded(components[schema["$ref"].rpartition("/")[2]], where, components)
    found: list[str] = []
    for inner in (one for kind in ("oneOf", "allOf", "anyOf") for one in schema.get(kind, ())):
        found += _unbounded(inner, where, components)
    for name, inner in schema.get("properties", {}).items():
        found += _unbounded(inner, f"{where}/{name}", components)
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if "array" in kinds:
        found += [] if "maxItems" in schema else [f"{where} (maxItems)"]
        found += _unbounded(schema.get("items", {}), f"{where}/0", components)
    if "string" in kinds and not BOUNDED & set(schema) and schema.get("format") not in FORMS:
        found.append(f"{where} (maxLength)")
    if kinds & {"integer", "number"} and not {"minimum", "maximum"} <= set(schema):
        found.append(f"{where} (minimum, maximum)")
    return found


def test_every_writable_field_is_bounded() -> None:
    """Of every app: the document as the serializers make it, before what the layers around them promise is added."""
    with patched_settings({"POSTPROCESSING_HOOKS": []}):
        document = SchemaGenerator().get_schema(request=None, public=True)
    found, seen = [], 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                seen += 1
                found += _unbounded(media["schema"], f"{method.upper()} {path}", document["components"]["schemas"])
    assert seen > 10
    assert found == []
