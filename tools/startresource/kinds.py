"""The field types of startresource: in the model, in JSON, as an annotation, and in tests."""

from collections.abc import Callable
from dataclasses import dataclass

DATES = "2026-01-{:02d}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One type. ``model``, ``write`` and ``read`` are class names and first arguments in the generated code.

    ``{length}``, ``{digits}``, ``{places}`` and ``{choices}`` in them are those of the field. ``sample`` returns value number n
    as in a JSON body, ``python`` the same as an expression, ``fresh`` an expression whose value is always new.
    """

    model: str
    write: str
    read: str
    annotation: str
    sample: Callable[[int], object]
    python: str = "{value!r}"
    fresh: str = ""
    length: int | None = None
    longest: int = 100_000
    is_text: bool = False
    is_ordered: bool = False
    is_filter: bool = False
    help: str = ""


def _text(model: str, write: str, *, sample: Callable[[int], object], fresh: str, length: int, **more: object) -> Kind:
    """Return a type that is stored as text: blank if it is optional, never null."""
    return Kind(
        model=model,
        write=write,
        read="serializers.CharField()",
        annotation="str",
        sample=sample,
        fresh=fresh,
        length=length,
        is_text=True,
        **more,  # type: ignore[arg-type]  # the names of Kind
    )


KINDS: dict[str, Kind] = {
    "str": _text(
        "models.CharField(max_length={length})",
        "PlainTextField(max_length={length})",
        sample=lambda n: f"{n} sample",
        fresh="uuid4().hex[:{length}]",
        length=200,
        longest=1000,
        is_ordered=True,
        help="a line of plain text of up to 200 characters, or another length: str:80",
    ),
    "text": _text(
        "models.TextField()",
        "PlainTextField(max_length={length}, multiline=True)",
        sample=lambda n: f"{n}\nsample",
        fresh="",
        length=20_000,
        help="plain text of several lines: text:5000",
    ),
    "html": _text(
        "models.TextField()",
        "RichTextField(max_length={length})",
        sample=lambda n: f"<p>{n}</p>",
        fresh="",
        length=20_000,
        help="rich text; what is not allowed is removed",
    ),
    "slug": _text(
        "UnicodeSlugField(max_length={length}, db_index=False)",
        "CleanSlugField(max_length={length})",
        sample=lambda n: f"{n}-sample",
        fresh="uuid4().hex[:{length}]",
        length=200,
        longest=500,
        help="letters, digits, hyphens and underscores",
    ),
    "email": _text(
        "models.EmailField(max_length=254)",
        "EmailAddressField(max_length=254)",
        sample=lambda n: f"a{n}@example.com",
        fresh='f"{{uuid4().hex}}@example.com"',
        length=254,
        longest=0,
    ),
    "url": _text(
        "models.URLField(max_length=2000)",
        "WebAddressField(max_length=2000)",
        sample=lambda n: f"https://example.com/{n}",
        fresh='f"https://example.com/{{uuid4()}}"',
        length=2000,
        longest=0,
        help="an http or https address",
    ),
    "int": Kind(
        model="models.IntegerField()",
        write="BoundedIntegerField()",
        read="serializers.IntegerField()",
        annotation="int",
        sample=lambda n: n,
        fresh="randrange(2**31)",
        is_ordered=True,
    ),
    "bigint": Kind(
        model="models.BigIntegerField()",
        write="BoundedIntegerField(min_value=-(2**63), max_value=2**63 - 1)",
        read="serializers.IntegerField()",
        annotation="int",
        sample=lambda n: n,
        fresh="randrange(2**63)",
        is_ordered=True,
    ),
    "decimal": Kind(
        model="models.DecimalField(max_digits={digits}, decimal_places={places})",
        write="BoundedDecimalField(max_digits={digits}, decimal_places={places})",
        read="serializers.DecimalField(max_digits={digits}, decimal_places={places})",
        annotation="Decimal",
        sample=str,
        python="Decimal({value!r})",
        is_ordered=True,
        help="an exact number with a total number of digits, and of decimal places: decimal:12:2",
    ),
    "bool": Kind(
        model="models.BooleanField(default=False)",
        write="serializers.BooleanField(default=False)",
        read="serializers.BooleanField()",
        annotation="bool",
        sample=lambda n: n % 2 == 1,
        is_filter=True,
        help="defaults to false; a filter of the list",
    ),
    "date": Kind(
        model="models.DateField()",
        write="StrictDateField()",
        read="serializers.DateField()",
        annotation="date",
        sample=DATES.format,
        python="date.fromisoformat({value!r})",
        is_ordered=True,
    ),
    "datetime": Kind(
        model="models.DateTimeField()",
        write="StrictDateTimeField()",
        read="serializers.DateTimeField()",
        annotation="datetime",
        sample=lambda n: f"{DATES.format(n)}T03:04:05Z",
        python="datetime.fromisoformat({value!r})",
        is_ordered=True,
    ),
    "uuid": Kind(
        model="models.UUIDField()",
        write="CanonicalUUIDField()",
        read="serializers.UUIDField()",
        annotation="UUID",
        sample=lambda n: f"00000000-0000-4000-8000-{n:012d}",
        python="UUID({value!r})",
        fresh="uuid4()",
    ),
    "choice": Kind(
        model="models.CharField(max_length={length}, choices={choices})",
        write="serializers.ChoiceField(choices={choices}.choices)",
        read="serializers.CharField()",
        annotation="str",
        sample=lambda n: n,
        is_filter=True,
        help="one of several words: choice:open,done; a filter of the list",
    ),
    "json": Kind(
        model="models.JSONField()",
        write="BoundedJSONField(max_length=20_000)",
        read="serializers.JSONField()",
        annotation="Any",
        sample=lambda n: {"sample": n},
        help="any JSON value",
    ),
    "fk": Kind(
        model="models.ForeignKey()",
        write="ReferenceField()",
        read="",
        annotation="",
        sample=lambda n: n,
        is_filter=True,
        help="the id of a row of another resource: fk:shop.Category; a filter of the list",
    ),
}
UNIQUE = ("str", "slug", "email", "url", "int", "bigint", "uuid")
