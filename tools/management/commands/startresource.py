"""``manage.py startresource``: writes a resource, with its tests, and registers it."""

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

who may what:
  with a field of type user, a row belongs to who made it: the owner changes it, and who holds Django's model permission
  without one, who holds the permission writes
  with owner:user?, a row stays, nobody's, once the account is gone; without the ? it goes with it
  --jobs: who may create imports, too, and who may list exports; a field with ! tells which row of a file is which
  --public: anybody reads, and answers are cached; else owners read their own, or, where there are none, all who sign in
"""


class Command(BaseCommand):
    help = (
        "Write a resource as docs/add-a-resource.md describes one: model, migration, selectors, services, serializers, "
        "lists, permissions, views, admin and tests; register its app. All of it is tried in a copy first: either everything "
        "is written or nothing. Nothing is overwritten."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, epilog=_epilog()
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("resource", metavar="app.Model", help="such as shop.Product; the app may exist")
        parser.add_argument("fields", nargs="+", metavar="field", help=GRAMMAR)
        parser.add_argument("--public", action="store_true", help="anybody may read, without signing in")
        parser.add_argument(
            "--jobs", action="store_true", help="import them from files and export them, CSV or NDJSON, as jobs"
        )
        parser.add_argument("--plural", help="the word of its address, where English forms it otherwise")
        parser.add_argument(
            "--dry-run", action="store_true", help="try all of it, show what would be written, write nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT_NAME not in ("dev", "test"):
            raise CommandError("startresource writes source files: run it where you develop (DJANGO_ENV=dev).")
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
        self._tell(changes, dry=options["dry_run"])
        if not options["dry_run"]:
            self.stdout.write(_next_steps(resource))

    def _tell(self, changes: list[Change], *, dry: bool) -> None:
        new = [change for change in changes if change.before is None]
        self.stdout.write(f"{'Would write' if dry else 'Wrote'} {len(new)} files, {sum(c.lines for c in new)} lines:")
        for change in new:
            self.stdout.write(f"  {change.lines:4}  {change.path}")
        for change in changes:
            if change.before is not None:
                self.stdout.write(change.difference() if dry else f"  edited {change.path}")


def _epilog() -> str:
    types = "\n".join(f"  {name:<9} {kind.help}".rstrip() for name, kind in KINDS.items())
    return f"types:\n{types}\n  user      whose the row is: set to who makes it, never by the body\n\n{EXAMPLES}"


def _next_steps(resource: Resource) -> str:
    """Say what to do now, and what to think about."""
    lines = [
        "\nNext:",
        "  ./manage.py migrate",
        f"  bin/test tests/apps/{resource.label} tests/test_access.py",
        f"  curl -s 'http://localhost:8000/api/v1/{resource.path}?limit=2'"
        + ("" if resource.is_public else ' -H "Authorization: Bearer $ACCESS"'),
    ]
    if resource.is_public and any(spec.name in ("published", "public", "visible") for spec in resource.fields):
        lines.append(
            "  Rows that are not published can be read by anybody, too: confine them in selectors.py if they should not."
        )
    lines += [
        f"  {spec.name} takes what {spec.target.readable} in apps/{spec.target.label}/selectors.py returns for the caller."
        for spec in resource.fields
        if spec.target
    ]
    return "\n".join(lines)
