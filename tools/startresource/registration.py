"""The three lists that name an app, edited as a person would: one line or word each, everything else as it was."""

from __future__ import annotations

import re

from tools.startresource.specification import Refused, Resource

SETTINGS, URLS, CONTRACTS = "settings/base.py", "project/urls.py", "pyproject.toml"
README = "README.md"
_YOURS = r"^ +# Your apps[^\n]*\n"


def registered(resource: Resource, texts: dict[str, str]) -> dict[str, str]:
    """Give the lists' new texts, by file name. Raises ``Refused`` naming what is to be written by hand."""
    if resource.extends:
        _above(resource, _storeys(texts[CONTRACTS]))
        entry = re.compile(rf"^(apps/{resource.label}/ +[^\n]*)", re.MULTILINE)
        return {README: entry.sub(rf"\g<1>, {resource.plural.replace('_', ' ')}", texts[README], count=1)}
    label = resource.label
    found = {
        SETTINGS: _behind(
            texts[SETTINGS],
            _YOURS + r'(?: +"[\w.]+",\n)*',
            f'    "apps.{label}",\n',
            where=f"{SETTINGS}, INSTALLED_APPS",
        ),
        URLS: _behind(
            texts[URLS],
            _YOURS + r'(?: +path\("api/v1/", include\("[\w.]+"\)\),\n)*',
            f'    path("api/v1/", include("apps.{label}.urls")),\n',
            where=f"{URLS}, urlpatterns",
        ),
        CONTRACTS: _contracts(resource, texts[CONTRACTS]),
    }
    # The team's own page: where the line it follows is gone, it is left alone.
    readme = re.search(r"^apps/accounts/ +\S[^\n]*\n(?:apps/(?!operations)\w+/ [^\n]*\n)*", texts[README], re.MULTILINE)
    if readme:
        line = f"{f'apps/{label}/':<17} {resource.plural.replace('_', ' ')}\n"
        found[README] = texts[README][: readme.end()] + line + texts[README][readme.end() :]
    return found


def yours(contracts: str) -> list[str]:
    """Give the labels of the apps that stand between operations and accounts."""
    return [label for line in _storeys(contracts) for label in line]


def _storeys(contracts: str) -> list[list[str]]:
    """Give the lines of the layers that hold your apps, the topmost first."""
    block = re.search(_YOURS + r'((?: +"[\w |:]+",\n)*?) +"accounts",\n', contracts, re.MULTILINE)
    if block is None:
        raise Refused(
            f'{CONTRACTS}: no lines between \'# Your apps\' and "accounts" in the layers of the contract "apps". Put them back, '
            'or add the app there, in INSTALLED_APPS, in project/urls.py and to the containers of "inside" by hand.'
        )
    return [re.findall(r"\w+", line) for line in block[1].splitlines()]


def _contracts(resource: Resource, text: str) -> str:
    """Name the app in the contracts: beside the others, or above those that it refers to."""
    storeys = _storeys(text)
    below = {spec.target.label for spec in resource.fields if spec.target} - {resource.label}
    block = re.search(_YOURS, text, re.MULTILINE)
    assert block is not None  # found by _storeys
    if storeys and not below:
        first = re.compile(r'( +")([\w |:]+",\n)')
        text = text[: block.end()] + first.sub(rf"\g<1>{resource.label} | \g<2>", text[block.end() :], count=1)
    else:
        text = f'{text[: block.end()]}    "{resource.label}",\n{text[block.end() :]}'
    containers = re.search(r'(id = "inside"\n.*?^containers = \[)', text, re.MULTILINE | re.DOTALL)
    if containers is None:
        raise Refused(f'{CONTRACTS}: no containers = [...] in the contract "inside": put the line back.')
    return f'{text[: containers.end()]}"apps.{resource.label}", {text[containers.end() :]}'


def _above(resource: Resource, storeys: list[list[str]]) -> None:
    """Refuse a relation that the order of the apps forbids."""
    mine = next((place for place, line in enumerate(storeys) if resource.label in line), -1)
    for spec in resource.fields:
        if spec.target is None or spec.target.label == resource.label:
            continue
        other = next((place for place, line in enumerate(storeys) if spec.target.label in line), -1)
        if other <= mine:
            raise Refused(
                f"{spec.name}: {resource.label} may not import {spec.target.label} as long as it stands beside or below it. "
                f'Give "{resource.label}" a line of its own above "{spec.target.label}" in {CONTRACTS}, then try again.'
            )


def _behind(text: str, pattern: str, line: str, *, where: str) -> str:
    """Put a line behind what a pattern finds once."""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        raise Refused(
            f"{where}: the line '# Your apps:' is there {len(found)} times instead of once. Put it back, then try again."
        )
    return text[: found[0].end()] + line + text[found[0].end() :]
