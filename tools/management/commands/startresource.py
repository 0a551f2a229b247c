"""``manage.py startresource``: generates a resource with its tests, and registers it."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tools.startresource.kinds import KINDS
from tools.startresource.registration import CONTRACTS
from tools.startresource.specification import GRAMMAR, Refused, Resource, parse
from tools.startresource.staging import Change, changes_for, put
from tools.startresource.surroundings import settled

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = """\
examples:
  ./manage.py startresource shop.Category name:str --public
  ./manage.py startresource shop.Product name:str price:decimal body:html published:bool owner:user \\
      category:fk:shop.Category --public
  ./manage.py startresource diary.Entry 'title:str:80' 'text:text?' 'day:date' 'mood:choice:good,bad' owner:user

access:
  With a field of type user, a row belongs to the user who creates it. The owner can change it, and so can users with
  Django's model permission. Without an owner, only users with the permission can write.
  With owner:user? a row is kept without an owner when the account is deleted. Without the ? it is deleted too.
  --jobs: users who may create rows can import them, and users who may list rows can export them. A field with !
  identifies the rows of a file.
  --public: everyone can read, and responses are cached. Otherwise owners read their own rows; without an owner, all
  signed-in users read all rows.
"""


class Command(BaseCommand):
    help = (
        "Generate a resource as docs/add-a-resource.md describes: model, migration, selectors, services, serializers, lists, "
        "permissions, views, admin and tests. Registers its app. Everything is tried in a copy first, so that either all files "
        "are written or none. Existing files are not overwritten."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, epilog=_epilog()
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("resource", metavar="app.Model", help="for example shop.Product; the app may exist already")
        parser.add_argument("fields", nargs="+", metavar="field", help=GRAMMAR)
        parser.add_argument("--public", action="store_true", help="everyone can read, without signing in")
        parser.add_argument(
            "--jobs", action="store_true", help="add imports and exports of CSV and NDJSON files, as jobs"
        )
        parser.add_argument("--plural", help="an irregular plural, which the address uses")
        parser.add_argument(
            "--dry-run", action="store_true", help="try everything and show what would be written, but write nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT_NAME not in ("dev", "test"):
            raise CommandError("startresource writes source files. Run it where you develop (DJANGO_ENV=dev).")
        try:
            resource = parse(
                name=options["resource"],
                fields=options["fields"],
                is_public=options["public"],
                plural=options["plural"],
                has_jobs=options["jobs"],
            )
            resource = settled(resource, root=ROOT, contracts=(ROOT / CONTRACTS).read_text())
            changes = changes_for(resource, root=ROOT)
            if not options["dry_run"]:
                put(changes, root=ROOT)
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        self._report(changes, dry=options["dry_run"])
        if not options["dry_run"]:
            self.stdout.write(_next_steps(resource))

    def _report(self, changes: list[Change], *, dry: bool) -> None:
        new = [change for change in changes if change.before is None]
        self.stdout.write(f"{'Would write' if dry else 'Wrote'} {len(new)} files, {sum(c.lines for c in new)} lines:")
        for change in new:
            self.stdout.write(f"  {change.lines:4}  {change.path}")
        for change in changes:
            if change.before is not None:
                self.stdout.write(change.difference() if dry else f"  edited {change.path}")


def _epilog() -> str:
    types = "\n".join(f"  {name:<9} {kind.help}".rstrip() for name, kind in KINDS.items())
    return f"types:\n{types}\n  user      the owner of the row: the user who creates it, never set by the body\n\n{EXAMPLES}"


def _next_steps(resource: Resource) -> str:
    """Return what to do next."""
    lines = [
        "\nNext:",
        "  ./manage.py migrate",
        f"  bin/test tests/apps/{resource.label} tests/test_access.py",
        f"  curl -s 'http://localhost:8000/api/v1/{resource.path}?limit=2'"
        + ("" if resource.is_public else ' -H "Authorization: Bearer $ACCESS"'),
    ]
    if resource.is_public and any(spec.name in ("published", "public", "visible") for spec in resource.fields):
        lines.append(
            "  Everyone can also read rows that are not published. Filter them in selectors.py if that is not what you want."
        )
    lines += [
        f"  {spec.name} accepts the rows that {spec.target.readable} (apps/{spec.target.label}/selectors.py) returns."
        for spec in resource.fields
        if spec.target
    ]
    return "\n".join(lines)
