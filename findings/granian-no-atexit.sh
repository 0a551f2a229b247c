#!/bin/sh
# granian 2.8.9, Python 3.11: a worker process that is stopped by SIGTERM ends without running atexit handlers; gunicorn's
# and uvicorn's run them. Whatever an application flushes there (metrics, buffered logs, error reports) is lost with every restart.
#
# Output seen, 2026-11-30:
#   request answered; exit status 0; atexit ran: False
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.9
cat >"$folder/application.py" <<'PYTHON'
import atexit
import os
from pathlib import Path

atexit.register(Path(os.environ["FOLDER"], "ended").touch)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
PYTHON
cd "$folder"
FOLDER=$folder "$folder/venv/bin/python" - <<'PYTHON'
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

folder = Path(os.environ["FOLDER"])
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(
    [folder / "venv" / "bin" / "granian", "--interface", "wsgi", "--port", str(port), "application:application"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
status = None
try:
    for _ in range(150):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            status = connection.getresponse().status
            connection.close()
            break
        except OSError:
            time.sleep(0.1)
finally:
    server.send_signal(signal.SIGTERM)
    ended = server.wait(timeout=30)
ran = (folder / "ended").exists()
print(f"request answered: {status}; exit status {ended}; atexit ran: {ran}")
sys.exit(0 if (status, ended, ran) == (200, 0, False) else "This granian ends in another way.")
PYTHON
