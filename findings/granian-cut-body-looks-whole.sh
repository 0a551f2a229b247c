#!/bin/sh
# granian 2.8.9, WSGI: the body of a request in chunks whose client disconnects before the last chunk looks complete to the
# application. `wsgi.input.read()` returns what has arrived and then b"", as at the end of a body; nothing is raised, so half
# of an upload is stored as a whole one. gunicorn 27.0.1 raises an error in the same place. An application behind granian can
# ask for a Content-Length (411), and compare.
#
# Output seen, 2026-11-30:
#   granian: read 5 of 10 bytes as a whole body
#   gunicorn: NoMoreData
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.9 gunicorn==27.0.1
cd "$folder"
cat > reads.py <<'PYTHON'
import pathlib


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        try:
            body = b"".join(iter(lambda: environ["wsgi.input"].read(5), b""))
            seen = f"read {len(body)} of 10 bytes as a whole body"
        except Exception as error:
            seen = type(error).__name__
        pathlib.Path("seen").write_text(seen)
    start_response("200 OK", [("Content-Length", "0")])
    return []
PYTHON
cat > half.py <<'PYTHON'
import socket
import sys
import time

for _ in range(100):
    try:
        client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
time.sleep(0.5)
client.close()
time.sleep(1.5)
PYTHON
port() { venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
asked() {
    rm -f seen
    number=$(port)
    case "$1" in
        granian) venv/bin/granian --interface wsgi --host 127.0.0.1 --port "$number" --no-ws reads:application >log 2>&1 & ;;
        gunicorn) venv/bin/gunicorn --no-control-socket --threads 2 --bind "127.0.0.1:$number" reads:application >log 2>&1 & ;;
    esac
    server=$!
    venv/bin/python half.py "$number"
    kill "$server"; wait "$server" 2>/dev/null || true; server=
    echo "$1: $(cat seen)"
}
granian=$(asked granian); echo "$granian"
gunicorn=$(asked gunicorn); echo "$gunicorn"
[ "$granian" = "granian: read 5 of 10 bytes as a whole body" ] || { echo "granian raises an error now." >&2; exit 1; }
case "$gunicorn" in *"as a whole body"*) echo "gunicorn reads it as a whole body now." >&2; exit 1 ;; esac
