"""Many rows of any model in seconds, made by one statement from its fields, so that query plans are realistic."""

from collections.abc import Iterable, Mapping
from types import ModuleType

from django.contrib.auth import get_user_model
from django.db import connection, models

_TEXT = "CASE WHEN n % 3 = 0 THEN 'common' ELSE md5(n::text) END"
# SQL of the row number n (1, 2, …) by kind of field; the first kind that fits.
_BY_KIND: tuple[tuple[type[models.Field], str], ...] = (
    (models.UUIDField, "md5('{name}' || n)::uuid"),
    (models.EmailField, "'user' || n || '@example.com'"),
    (models.SlugField, "'slug-' || n"),
    (models.URLField, "'https://example.com/' || n"),
    (models.CharField, f"left({_TEXT}, {{length}})"),
    (models.TextField, _TEXT),
    (models.BooleanField, "n % 10 <> 0"),
    (models.DecimalField, "(1 + n % 9)::numeric"),
    (models.FloatField, "(1 + n % 1000)::float"),
    (models.IntegerField, "1 + n % 1000"),
    (models.DateTimeField, "now() - n * interval '1 minute'"),
    (models.DateField, "current_date - n % 3650"),
    (models.TimeField, "time '00:00' + n % 86400 * interval '1 second'"),
    (models.DurationField, "n * interval '1 second'"),
    (models.BinaryField, "decode(md5(n::text), 'hex')"),
    (models.FileField, "'files/' || n"),  # the name alone: nobody opens it
    (models.JSONField, "'{{}}'::jsonb"),
    (models.GenericIPAddressField, "'192.0.2.1'::inet"),
)


def fill(model: type[models.Model], rows: int, *, owner: object, told: Mapping[str, str]) -> None:
    """Replace all rows of ``model``, fast: its unneeded indexes are built afterwards.

    ``owner`` (a user's key) has half of the rows of each model that refers to users. ``told`` has SQL for the columns whose
    kind of field says too little. Run it in a transaction that is rolled back: the old rows are then there again.
    """
    table = model._meta.db_table
    fields = [field for field in model._meta.concrete_fields if not _made_by_the_database(field)]
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    values = ", ".join(told.get(field.name) or _value(field, owner=owner) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND NOT indexdef LIKE 'CREATE UNIQUE%%'",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, {int(rows)}) AS n")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute(f"ANALYZE {table}")


def empty(*tables: type[models.Model]) -> None:
    """Remove all rows, and what refers to them, by giving the tables new files: a rollback gives the old ones back."""
    names = ", ".join(model._meta.db_table for model in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


def in_order(wanted: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """Return the models so that each comes after those that it refers to."""
    found: dict[type[models.Model], None] = {}

    def put(model: type[models.Model], asked: frozenset[type[models.Model]]) -> None:
        for field in model._meta.concrete_fields:
            target = field.related_model
            if target in remaining and target not in asked and target is not model:
                put(target, asked | {model})
        found.setdefault(model)

    remaining = sorted(wanted, key=lambda model: model._meta.label)
    for model in remaining:
        put(model, frozenset())
    return list(found)


def told_by(module: ModuleType | None, name: str) -> dict:
    """Return what an app's ``lists.py`` declares under ``name`` (COLUMNS, VALUES); empty if it declares nothing."""
    return getattr(module, name, {})


def _made_by_the_database(field: models.Field) -> bool:
    return isinstance(field, (models.AutoField, models.GeneratedField)) or getattr(field, "generated", False)


def _value(field: models.Field, *, owner: object) -> str:
    """Return the SQL of a column's values; a tenth is NULL where that is allowed."""
    if isinstance(field, models.ForeignKey):
        value = _reference(field, owner=owner)
    elif field.choices:
        first, *others = [str(value) for value, _ in field.flatchoices]
        rare = "".join(f" WHEN {number} THEN '{value}'" for number, value in enumerate(others))
        value = f"CASE n % 20{rare} ELSE '{first}' END" if others else f"'{first}'"
    else:
        found = next((sql for kind, sql in _BY_KIND if isinstance(field, kind)), None)
        assert found is not None, f"say how {field} is filled, in COLUMNS of its app's tests' lists.py"
        value = found.format(name=field.name, length=getattr(field, "max_length", None) or 100)
        if _is_unique(field) and isinstance(field, models.IntegerField):
            value = "n"
        elif _is_unique(field) and isinstance(field, (models.CharField, models.TextField)) and "' || n" not in value:
            value = f"left(md5(n::text), {getattr(field, 'max_length', None) or 100})"
    return f"CASE WHEN n % 10 = 0 THEN NULL ELSE {value} END" if field.null else value


def _is_unique(field: models.Field) -> bool:
    """Return whether the column's values are unique, in the table or per owner, however the model declares it."""
    constraints = [one for one in field.model._meta.constraints if isinstance(one, models.UniqueConstraint)]
    return field.unique or any(field.name in one.fields for one in constraints)


def _reference(field: models.ForeignKey, *, owner: object) -> str:
    """Refer to the owner in half of the rows, and in the others to the rows there are; of other models, to some made here."""
    target = field.related_model
    if target is not get_user_model() and not target._default_manager.exists():
        fill(target, 100, owner=owner, told={})
    some = list(target._default_manager.exclude(pk=owner if target is get_user_model() else None)[:100])
    keys = ", ".join(f"'{row.pk}'" for row in some)
    kind = field.target_field.db_type(connection)
    other = f"((ARRAY[{keys}])[1 + n % {len(some)}])::{kind}"
    return f"CASE WHEN n % 2 = 0 THEN '{owner}'::{kind} ELSE {other} END" if target is get_user_model() else other
