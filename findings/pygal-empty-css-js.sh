#!/bin/sh
# pygal 3.1.3: css=[] and js=[], which replace the lists of files that a chart includes, leave a <style> and a <script> in the
# SVG all the same, for pygal's base.css and the chart's configuration, and a style attribute. So a page that shows the
# chart inline needs a Content-Security-Policy with 'unsafe-inline', or hashes.
#
# Output seen, 2026-11-30:
#   Bar: <style> 1, <script> 1, style attributes 1
#   Line: <style> 1, <script> 1, style attributes 1
#   Pie: <style> 1, <script> 1, style attributes 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pygal==3.1.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import xml.etree.ElementTree as ElementTree

import pygal

SVG = "{http://www.w3.org/2000/svg}"
held = True
for kind in (pygal.Bar, pygal.Line, pygal.Pie):
    chart = kind(css=[], js=[])
    chart.add("requests", [1, 2, 3])
    elements = list(ElementTree.fromstring(chart.render()).iter())
    counts = [sum(element.tag == SVG + name for element in elements) for name in ("style", "script")]
    counts.append(sum("style" in element.attrib for element in elements))
    print("{}: <style> {}, <script> {}, style attributes {}".format(kind.__name__, *counts))
    held &= all(counts)
sys.exit(0 if held else "pygal leaves these out now.")
PYTHON
