#!/bin/sh
# squawk 2.70.0 (squawk-cli 2.70.0): --exclude on the command line replaces excluded_rules of the --config file instead of adding
# to it. Excusing one rule for one migration therefore raises every rule that the project had excused for all.
#
# Output seen, 2026-11-30:
#   file alone: ban-drop-column
#   file and --exclude=ban-drop-column: prefer-bigint-over-int
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check squawk-cli==2.70.0
cd "$folder"
printf 'excluded_rules = ["prefer-bigint-over-int", "require-timeout-settings", "prefer-robust-stmts"]\n' >squawk.toml
cat >migration.sql <<'SQL'
ALTER TABLE shelf DROP COLUMN title;
ALTER TABLE shelf ADD COLUMN size int;
SQL
rules() { venv/bin/squawk --config squawk.toml --reporter Gcc "$@" migration.sql 2>/dev/null | grep -oE 'ban-drop-column|prefer-bigint-over-int' | sort -u | tr '\n' ' '; }
file=$(rules); both=$(rules --exclude=ban-drop-column)
echo "file alone: $file"
echo "file and --exclude=ban-drop-column: $both"
[ "$file" = "ban-drop-column " ] && [ "$both" = "prefer-bigint-over-int " ]
