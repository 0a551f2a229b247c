#!/bin/sh
# redis-py 8.1.0: `import redis` imports opentelemetry's API and the metrics of its SDK wherever they are installed, for traces
# alone, say. redis-py's own metrics are off until they are switched on, and its code has "Lazy import - only import OTel
# when metrics are enabled" (redis/observability/providers.py), but other modules beside it import at once.
#
# Output seen, 2026-11-30:
#   without OpenTelemetry: 0 modules of it after import redis
#   with opentelemetry-sdk 1.45.2: 61 modules of it after import redis, opentelemetry.sdk.metrics among them: True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
cat >"$folder/imported.py" <<'PYTHON'
import sys

import redis

found = [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]
print(len(found), "opentelemetry.sdk.metrics" in found)
PYTHON
without=$("$folder/venv/bin/python" "$folder/imported.py")
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
with=$("$folder/venv/bin/python" "$folder/imported.py")
echo "without OpenTelemetry: ${without% *} modules of it after import redis"
echo "with opentelemetry-sdk 1.45.2: ${with% *} modules of it after import redis, opentelemetry.sdk.metrics among them: ${with#* }"
[ "$without" = "0 False" ] && [ "${with#* }" = True ] || { echo "redis-py imports OpenTelemetry later now." >&2; exit 1; }
