#!/bin/sh
# Schemathesis 4.32.5: negative_data_rejection takes 400, 401, 403, 404, 405, 406, 409, 415, 422, 428, 429 and 5xx for a
# rejection, and no other 4xx, even one that the operation documents. A service that answers a query, a body or a header that
# is too long with the status that HTTP has for it (414, 413, 431), or an unreadable If-Match with 412, is reported as having
# accepted invalid data. Name the statuses in the configuration: [checks.negative_data_rejection] expected-statuses.
#
# Output seen, 2026-11-30:
#   refused with 400: a rejection
#   refused with 412: reported as accepted
#   refused with 413: reported as accepted
#   refused with 414: reported as accepted
#   refused with 431: reported as accepted
#   refused with 414, which expected-statuses names: a rejection
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
cd "$folder"
venv/bin/python - <<'PYTHON'
import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

STATUSES = (400, 412, 413, 414, 431)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 204 to a word of at most five characters, given once, and the server's ``refusal`` to all else."""

    def do_GET(self):
        words = parse_qs(urlsplit(self.path).query, keep_blank_values=True).get("word", [])
        valid = len(words) == 1 and len(words[0]) <= 5
        self.send_response(204 if valid else self.server.refusal)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def failures(refusal, settings=""):
    """Run the one check against a service whose document says all that it does."""
    server.refusal = refusal
    word = {"name": "word", "in": "query", "required": True, "schema": {"type": "string", "maxLength": 5}}
    answers = {"204": {"description": "Found."}, str(refusal): {"description": "Refused."}}
    operation = {"parameters": [word], "responses": answers}
    document = {"openapi": "3.1.0", "info": {"title": "Words", "version": "1"}, "paths": {"/": {"get": operation}}}
    Path("openapi.json").write_text(json.dumps(document))
    Path("schemathesis.toml").write_text(settings)
    command = [Path("venv/bin/schemathesis"), "--config-file", "schemathesis.toml", "run", "openapi.json"]
    command += ["--url", f"http://127.0.0.1:{server.server_port}", "--phases", "coverage", "--mode", "negative"]
    command += ["--checks", "negative_data_rejection", "--seed", "1", "--no-color"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    if "Test cases:" not in said:
        sys.exit(said)
    return "Invalid data should have been rejected" in said


seen = [failures(status) for status in STATUSES]
seen.append(failures(414, "[checks.negative_data_rejection]\nexpected-statuses = [400, 414]\n"))
names = [f"refused with {status}" for status in STATUSES]
names.append("refused with 414, which expected-statuses names")
for name, failed in zip(names, seen, strict=True):
    print(f"{name}: {'reported as accepted' if failed else 'a rejection'}")
sys.exit(0 if seen == [False, True, True, True, True, False] else "Schemathesis takes other statuses for a rejection now.")
PYTHON
