"""manage.py startresource: what it reads, what it refuses and why, and that it writes everything or nothing."""

from __future__ import annotations

import builtins
import keyword
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.copies import ROOT
from tools.management.commands import startresource as command
from tools.startresource import staging
from tools.startresource.merging import merged, merged_table
from tools.startresource.pieces import INDEX_NAME, field_code, indexes, orderings
from tools.startresource.registration import CONTRACTS, SETTINGS, URLS, registered, yours
from tools.startresource.rendering import rendered
from tools.startresource.specification import FieldSpec, Refused, Resource, Target, parse, plural_of
from tools.startresource.staging import Change, changes_for, put
from tools.startresource.surroundings import settled

# What is held against the project has names that no project's own app will have.
UNHEARD = "unheard_of.Thingamabob"
EXAMPLE = ["name:str", "price:decimal:8:3", "owner:user", "state:choice:open,done", "note:text?", "sku:str:40!"]


def parsed(name: str = "shop.Product", *fields: str, plural: str | None = None) -> Resource:
    return parse(name=name, fields=[*(fields or ("name:str",))], is_public=True, plural=plural)


def test_command_line_is_parsed() -> None:
    resource = parsed("shop.OrderLine", *EXAMPLE)
    assert (resource.label, resource.entity, resource.plural, resource.path) == (
        *("shop", "order_line", "order_lines"),
        "order-lines",
    )
    assert resource.owner == "owner"
    name, price, state, note, sku = resource.fields
    assert (name.length, price.digits, price.places, state.choices) == (200, 8, 3, ("open", "done"))
    assert (note.optional, name.optional, sku.unique, sku.length) == (True, False, True, 40)


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("product", "products"),
        ("category", "categories"),
        ("day", "days"),
        ("box", "boxes"),
        ("bus", "buses"),
        ("match", "matches"),
    ],
)
def test_plurals(word: str, plural: str) -> None:
    assert plural_of(word) == plural


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["name:string"], "no type 'string'"),
        (["name"], "no type ''"),
        (["Name:str"], "lower-case"),
        (["a__b:str"], "single underscores"),
        (["name_:str"], "single underscores"),
        ([f"{'x' * 51}:str"], "at most 50"),
        (["class:str"], "Python keyword"),
        (["id:int"], "every resource"),
        (["version:int"], "every resource"),
        (["created_at:datetime"], "every resource"),
        (["objects:str"], "every resource"),
        (["models:str"], "every resource"),
        (["limit:int"], "query parameter"),
        (["cursor:str"], "query parameter"),
        (["save:bool"], "Django's models"),
        (["delete:bool"], "Django's models"),
        (["data:json"], "serializers"),
        (["label:str"], "serializers"),
        (["parent:str"], "serializers"),
        (["product:str"], "the resource itself"),
        (["name:str", "name:text"], "two fields"),
        (["home:str", "home_id:int"], "a column of this name"),
        (["owner:user"], "at least one field"),
        (["name:str", "a:user", "b:user"], "is already the owner"),
        (["name:str:5000"], "a length of 8 to 1000"),
        (["price:decimal:4:4"], "one before the point"),
        (["price:decimal:x:2"], "decimal:12:2"),
        (["price:int:5"], "does not take '5'"),
        (["state:choice"], "different words"),
        (["state:choice:one"], "different words"),
        (["state:choice:a,a"], "different words"),
        (["state:choice:A,b"], "lower-case"),
        (["home:fk"], "fk:shop.Category"),
        (["flag:bool?"], "leave the"),
        (["body:html!"], "! is only for"),
        (["name:str?!"], "not together"),
    ],
)
def test_invalid_fields_are_refused(fields: list[str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parsed("shop.Product", *fields)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Product", "app.Model"),
        ("shop.product", "app.Model"),
        ("Shop.Product", "app.Model"),
        ("shop.Prod-uct", "app.Model"),
        ("class.Product", "not a usable module name"),
        ("shop.None", "Python keyword"),
        ("school.Class", r"such as school\.SchoolClass"),
        ("json.Product", "standard library"),
        ("shop.Test", "pytest collects"),
        ("shop.TestRun", "pytest collects"),
        (f"shop.{'P' * 41}", "app.Model"),
    ],
)
def test_invalid_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parsed(name)


WORDS = sorted({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)} - {"_"})


def written_or_refused(name: str, *fields: str, plural: str | None = None) -> str | None:
    """Return why a resource is refused; None when its files are Python that leaves the builtins it uses as they are."""
    try:
        resource = parse(name=name, fields=[*fields], is_public=False, plural=plural, has_jobs=True)
        files = rendered(resource)
        staging._require_apart(files, resource)
    except Refused as refusal:
        return str(refusal)
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
            function = {"list", "str", "dict", "int", "super", "isinstance"}
            assert function.isdisjoint({resource.entity, resource.plural, *(spec.name for spec in resource.fields)})
    return None


@pytest.mark.parametrize("word", WORDS)
def test_python_words_never_cause_a_traceback(word: str) -> None:
    """As a model, a field, an owner, an app or a plural: it is written whole, or refused, and then the proposal is taken."""
    model = "".join(part[:1].upper() + part[1:] for part in word.split("_"))
    for name, fields, plural in (
        (f"school.{model}", ["title:str"], None),
        (f"school.{word}", ["title:str"], None),
        ("school.Lesson", [f"{word}:str"], None),
        *([("school.Lesson", ["title:str", f"{word}:user"], None)] if keyword.iskeyword(word) else []),
        *([(f"{word}.Lesson", ["title:str"], None)] if keyword.iskeyword(word) else []),
        *([("school.Lesson", ["title:str"], word)] if keyword.iskeyword(word) else []),
    ):
        refusal = written_or_refused(name, *fields, plural=plural)
        if proposed := re.search(r"such as (\w+)\.(\w+)\.$", refusal or ""):
            assert written_or_refused(f"{proposed[1]}.{proposed[2]}", "title:str") is None, refusal
    if keyword.iskeyword(word) and word == word.lower():
        assert "such as school.School" in str(written_or_refused(f"school.{model}", "title:str"))


@pytest.mark.parametrize("plural", ["product", "Products", "pro ducts", "import"])
def test_invalid_plurals_are_refused(plural: str) -> None:
    with pytest.raises(Refused, match="--plural"):
        parsed(plural=plural)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["accounts.Product", "name:str"], "installed app"),
        (["auth.Product", "name:str"], "installed app"),
        (["caching.Product", "name:str"], "a practice"),
        (["unheard_of.Job", "name:str"], "already in use"),
        (["unheard_of.Job", "name:str", "--plural", "jobbings"], "OpenAPI document"),
        (["unheard_of.Client", "name:str"], r"test_clients\.py uses the name Client"),
        (["unheard_of.Decimal", "price:decimal"], r"uses the name Decimal for something else"),
        (["unheard_of.Owner", "name:str", "boss:user"], r"views\.py uses the name owner for something else"),
        (["unheard_of.Form", "name:str"], r"admin\.py uses the name form for something else"),
        ([UNHEARD, "home:fk:unheard_of.Nowhere"], "no model unheard_of.Nowhere"),
        ([UNHEARD, "name:str", "buyer:fk:accounts.User"], "buyer:user"),
        ([UNHEARD, "name:str", "job:fk:jobs.Job"], "not a model of one of your apps"),
    ],
)
def test_names_in_use_are_refused(arguments: list[str], reason: str) -> None:
    before = snapshot(ROOT)
    with pytest.raises(CommandError, match=reason):
        call_command("startresource", *arguments)
    assert snapshot(ROOT) == before


@pytest.mark.parametrize(("left", "is_free"), [("__pycache__/models.cpython-311.pyc", True), ("notes.txt", False)])
def test_existing_folder_is_refused(left: str, is_free: bool, tmp_path: Path) -> None:
    """Git leaves what Python compiled when it takes an app away again."""
    file = tmp_path / "apps" / "unheard_of" / left
    file.parent.mkdir(parents=True)
    file.touch()
    contracts = (ROOT / CONTRACTS).read_text()
    if is_free:
        assert not settled(parsed(UNHEARD), root=tmp_path, contracts=contracts).extends
        return
    with pytest.raises(Refused, match="apps/unheard_of exists"):
        settled(parsed(UNHEARD), root=tmp_path, contracts=contracts)


def test_command_requires_development(settings: object) -> None:
    settings.ENVIRONMENT_NAME = "prod"  # type: ignore[attr-defined]  # pytest-django's
    with pytest.raises(CommandError, match="where you develop"):
        call_command("startresource", "shop.Product", "name:str")


@pytest.mark.parametrize(
    ("goes", "optional", "rule"),
    [(True, False, "CASCADE"), (True, True, "SET_NULL"), (False, False, "PROTECT"), (False, True, "PROTECT")],
)
def test_references_never_prevent_account_deletion(goes: bool, optional: bool, rule: str) -> None:
    target = Target(label="desk", model="Ticket", entity="ticket", key="UUID", sample="ticket", deleted_with_user=goes)
    spec = FieldSpec(name="ticket", type="fk", optional=optional, refers_to="desk.Ticket", target=target)
    assert f"on_delete=models.{rule}," in field_code(parsed(), spec).model


def test_index_names_are_short_and_unique() -> None:
    first, second = (f"extraordinarily_long_field_name_{end}" for end in ("one", "two"))
    resource = parsed("warehouse.ConsignmentDocument", f"{first}:bool", f"{second}:bool")
    names = [name for _, name in indexes(resource, [field_code(resource, spec) for spec in resource.fields])]
    assert len(set(names)) == len(names) == 3
    assert max(map(len, names)) <= INDEX_NAME


def test_index_names_are_unique_for_any_field_names() -> None:
    resource = parsed("shop.Product", "created:date", "state:choice:a,b", "state_new:int")
    names = [name for _, name in indexes(resource, [field_code(resource, spec) for spec in resource.fields])]
    assert len(set(names)) == len(names) == 4


def test_field_may_have_a_name_of_the_template() -> None:
    text = rendered(parsed("shop.Product", "items:str"))["apps/shop/filters.py"]
    assert '"items": (' in text
    assert '"-items": (' in text


@pytest.mark.parametrize(
    ("first", "posted"),
    [
        ("extra:json?", """    changed["extra"] = json.dumps(changed["extra"])\n"""),
        ("at:datetime", """    changed |= {f"at_{place}": part for place, part in """),
        (
            "name:str",
            """    changed = {**form, **body(editor, "products_update")}\n    response = admin_client.post(""",
        ),
    ],
)
def test_generated_test_posts_values_like_the_admin(first: str, posted: str) -> None:
    text = rendered(parsed("shop.Product", first))["tests/apps/shop/test_products.py"]
    compile(text, "test_products.py", "exec")
    assert posted in text


def test_nullable_fields_are_not_orders() -> None:
    names = set(orderings(parsed("shop.Product", "day:date?", "due:date", "name:str", "long:str:900", "size:int")))
    assert names == {f"{sign}{name}" for sign in ("", "-") for name in ("created_at", "due", "name", "size")}


def lists() -> dict[str, str]:
    return {path: (ROOT / path).read_text() for path in (SETTINGS, URLS, CONTRACTS, "README.md")}


def test_app_is_registered_once_in_each_list() -> None:
    before = lists()
    after = registered(parsed(UNHEARD), before)
    assert yours(after[CONTRACTS]) == ["unheard_of", *yours(before[CONTRACTS])]
    for path, text in after.items():
        assert len(re_words(text)) - len(re_words(before[path])) in (1, 2), path
        assert len(text.splitlines()) - len(before[path].splitlines()) in (0, 1), path
    again = registered(parsed("unheard_of_either.Thing"), {**before, **after})
    assert yours(again[CONTRACTS])[:2] == ["unheard_of_either", "unheard_of"]


def re_words(text: str) -> list[str]:
    words = text.replace("/", " ").replace(".", " ").replace('"', " ").split()
    return [word for word in words if word == "unheard_of"]


@pytest.mark.parametrize(
    ("path", "anchor"), [(SETTINGS, "# Your apps:"), (URLS, "# Your apps:"), (CONTRACTS, "# Your apps")]
)
def test_list_without_its_comment_is_refused(path: str, anchor: str) -> None:
    texts = lists()
    texts[path] = texts[path].replace(anchor, "# Ours")
    with pytest.raises(Refused, match="Put"):
        registered(parsed(UNHEARD), texts)


def test_modules_are_merged() -> None:
    old = '"""One."""\n\nfrom a import b\n\nTABLE = {"a": 1}\nSAME = 1\n\n\ndef first() -> None:\n    """Kept."""  # as it is\n'
    new = '"""Two."""\n\nfrom a import c\n\nTABLE = {"b": 2}\nSAME = 1\n\n\ndef second() -> None:\n    """New."""\n'
    both = merged(old, new, name="module.py")
    found: dict[str, object] = {}
    exec(both.replace("from a import b\n", "").replace("from a import c\n", ""), found)
    assert (found["TABLE"], both.count("SAME = 1"), both.count('"""One."""')) == ({"a": 1, "b": 2}, 1, 1)
    assert "from a import c" in both
    assert '"""Kept."""  # as it is' in both
    assert callable(found["first"])
    assert callable(found["second"])
    with pytest.raises(Refused, match="already defines first"):
        merged(old, "def first() -> int:\n    return 1\n", name="module.py")


def test_resource_with_owner_declares_personal_data() -> None:
    path = "apps/shop/personal.py"
    assert path not in rendered(parsed())
    product, order = (rendered(parsed(f"shop.{model}", *EXAMPLE))[path] for model in ("Product", "Order"))
    both = merged(product, order, name=path)
    assert both.count("PersonalData(\n") == 2
    assert 'fields=("id", "name", "price", "state", "note", "sku", "created_at", ' in both
    assert (both.count("model=Product"), both.count("model=Order")) == (1, 1)


def test_tables_are_merged() -> None:
    head = "# operation method path on permission nobody ended other owner staff holder admin"
    row = "{} GET /api/v1/{} - - 200 401 200 200 200 200 200"
    both = merged_table(f"# kept\n{head}\n{row.format('a_list', 'a')}\n", f"{head}\n{row.format('longer_list', 'b')}\n")
    lines = both.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["#", "kept"],
        ["#", "operation"],
        ["a_list", "GET"],
        ["longer_list", "GET"],
    ]
    assert len({line.index("/api") for line in lines[2:]}) == 1


def snapshot(folder: Path) -> dict[str, str]:
    """Return the files below the folders of a resource, with their texts."""
    files = [file for name in ("apps", "tests/apps", "settings", "project") for file in (folder / name).rglob("*")]
    kept = [file for file in files if file.suffix in (".py", ".txt") and file.is_file()]
    return {str(file): file.read_text() for file in [*kept, *(folder / name for name in (CONTRACTS, "README.md"))]}


def test_dry_run_shows_all_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(ROOT)
    call_command("startresource", UNHEARD, "name:str", "owner:user", "--dry-run")
    said = capsys.readouterr().out
    for path in ("models.py", "migrations/0001_initial.py"):
        assert f"apps/unheard_of/{path}" in said
    assert "tests/apps/unheard_of/test_thingamabobs.py" in said
    assert '+    "apps.unheard_of",' in said
    assert snapshot(ROOT) == before


def test_failure_in_the_copy_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = staging.rendered

    def broken(resource: Resource) -> dict[str, str]:
        texts = whole(resource)
        path = "apps/unheard_of/models.py"
        return {**texts, path: texts[path].replace("'-created_at', ", "")}

    monkeypatch.setattr(staging, "rendered", broken)
    with pytest.raises(Refused, match=r"so nothing has been written"):
        changes_for(parsed(UNHEARD), root=ROOT)


def test_disk_failure_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.py").write_text("old")
    changes = [
        Change(path="there.py", before="old", after="new"),
        Change(path="fresh/one.py", before=None, after="one"),
        Change(path="fresh/two.py", before=None, after="two"),
    ]
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "two.py":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="No space"):
            put(changes, root=tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["there.py"]
    assert (tmp_path / "there.py").read_text() == "old"
    put(changes, root=tmp_path)
    assert (tmp_path / "fresh" / "two.py").read_text() == "two"


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text("somebody else's")
    for before in (None, "old"):
        with pytest.raises(Refused, match="changed while"):
            put([Change(path="there.py", before=before, after="new")], root=tmp_path)
    assert (tmp_path / "there.py").read_text() == "somebody else's"


def test_help_names_every_type() -> None:
    text = command._epilog()
    assert all(f"\n  {name}" in text for name in (*command.KINDS, "user"))
