#!/bin/sh
# nh3 0.3.8: clean() drops one byte order mark (U+FEFF) from the front of a text, and keeps any other: its parser takes the text
# for the start of a document (html5ever's option discard_bom, on by default). So clean() changes a text that has no
# markup, and cleaning twice may give another text than cleaning once.
#
# Output seen, 2026-11-30:
#   '\ufeffplain' becomes 'plain'
#   '\ufeff\ufeffplain' becomes '\ufeffplain', and 'plain' when cleaned again
#   'pl\ufeffain' becomes 'pl\ufeffain'
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nh3==0.3.8
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import nh3

MARK = "\ufeff"
once, twice, inside = f"{MARK}plain", f"{MARK}{MARK}plain", f"pl{MARK}ain"
print(f"{ascii(once)} becomes {ascii(nh3.clean(once))}")
print(f"{ascii(twice)} becomes {ascii(nh3.clean(twice))}, and {ascii(nh3.clean(nh3.clean(twice)))} when cleaned again")
print(f"{ascii(inside)} becomes {ascii(nh3.clean(inside))}")
held = nh3.clean(once) == "plain" and nh3.clean(twice) == once and nh3.clean(inside) == inside
sys.exit(0 if held else "nh3 treats byte order marks in another way now.")
PYTHON
