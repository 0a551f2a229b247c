#!/bin/sh
# opentelemetry-sdk 1.45.2: TraceIdRatioBased compares the 64 low bits of a trace id, while IdGenerator asks its authors for 56
# random ones. A UUIDv7 keeps that promise, but its two variant bits are the highest of the 64 and always 10, so every id
# lies between 50 % and 75 % of the range. A ratio up to 0.5 samples nothing, one from 0.75 samples everything, without a word.
#
# Output seen, 2026-11-30:
#   ratio 0.1: random ids 10 %, UUIDv7 0 %
#   ratio 0.5: random ids 50 %, UUIDv7 0 %
#   ratio 0.6: random ids 59 %, UUIDv7 39 %
#   ratio 0.8: random ids 79 %, UUIDv7 100 %
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" - <<'PYTHON'
import random
import sys
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

COUNT = 10_000
random.seed(7)


class UUID7Generator(RandomIdGenerator):
    """Trace ids as RFC 9562, section 5.7, lays them out: time, version, 12 random bits, variant, 62 random bits."""

    def generate_trace_id(self):
        milliseconds = time.time_ns() // 1_000_000
        return milliseconds << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0b10 << 62 | random.getrandbits(62)


def sampled(generator, ratio):
    """Return the share of root spans that are recorded, in percent."""
    tracer = TracerProvider(id_generator=generator, sampler=TraceIdRatioBased(ratio)).get_tracer("finding")
    return 100 * sum(tracer.start_span("request").is_recording() for _ in range(COUNT)) / COUNT


changed = False
for ratio, expected in ((0.1, 0), (0.5, 0), (0.6, 40), (0.8, 100)):
    even, uuid7 = sampled(RandomIdGenerator(), ratio), sampled(UUID7Generator(), ratio)
    print(f"ratio {ratio}: random ids {even:.0f} %, UUIDv7 {uuid7:.0f} %")
    changed |= abs(even - 100 * ratio) > 5 or abs(uuid7 - expected) > (5 if expected == 40 else 0)
sys.exit("The sampler draws on other bits now." if changed else 0)
PYTHON
