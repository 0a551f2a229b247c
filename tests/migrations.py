"""Lint the SQL of the project's migrations for locks and rewrites: `python -m tests.migrations`.

A finding is excused beside the operation, with its reason: ``# squawk-ignore: ban-drop-column - no release reads it since 1.4``.
"""

import re
import subprocess
import sys
import tomllib
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import django
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

ROOT = Path(__file__).resolve().parent.parent
HELP = 'docs/database.md, "Changing a table in use",'
_EXCUSE = re.compile(r"# squawk-ignore: ([a-z-]+) - \S+")


def lint(sql: Path, *, excused: frozenset[str] = frozenset()) -> str:
    """Return what squawk finds in a file of SQL, one finding a line; nothing when all is well."""
    config = ROOT / ".squawk.toml"
    # --exclude replaces the file's excluded_rules (squawk 2.70): name both.
    rules = {*excused, *tomllib.loads(config.read_text())["excluded_rules"]}
    squawk = str(Path(sys.executable).with_name("squawk"))  # also where .venv is not on the path
    command = [squawk, "--reporter", "gcc", "--config", str(config), f"--exclude={','.join(sorted(rules))}", str(sql)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # 1 is "found something"; anything else besides 0 is no answer at all.
    if found.returncode > 1:
        raise RuntimeError(found.stderr)
    return found.stdout.strip() if found.returncode else ""


def excuses(source: str) -> frozenset[str]:
    """Return the rules that a migration's source excuses with a reason."""
    return frozenset(_EXCUSE.findall(source))


def main() -> int:
    """Print the findings of all migrations in this project; return 1 when there are any."""
    django.setup()
    loader = MigrationLoader(None)
    failed = 0
    with TemporaryDirectory() as folder:
        for (app, name), migration in sorted(loader.disk_migrations.items()):
            source = Path(sys.modules[type(migration).__module__].__file__ or "")
            if not source.is_relative_to(ROOT) or source.is_relative_to(ROOT / ".venv"):
                continue
            out = StringIO()
            call_command("sqlmigrate", app, name, stdout=out, no_color=True)
            path = Path(folder) / f"{app}.{name}.sql"
            path.write_text(out.getvalue())
            if found := lint(path, excused=excuses(source.read_text())):
                failed = 1
                print(found.replace(folder, ""))
    if failed:
        print(f"{HELP} says how to write each of these without blocking, and how to excuse one.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
