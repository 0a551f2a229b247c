"""The lists that name an app: each gets one line or word, and nothing else changes."""

import re

from tools.startresource.specification import Refused, Resource

SETTINGS, URLS, CONTRACTS = "settings/base.py", "project/urls.py", "pyproject.toml"
README = "README.md"
_YOURS = r"^ +# Your apps[^\n]*\n"


def registered(resource: Resource, texts: dict[str, str]) -> dict[str, str]:
    """Return the new texts of the lists, by file name; raise ``Refused`` with what to edit by hand."""
    if resource.extends:
        _above(resource, _layers(texts[CONTRACTS]))
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
    # The README belongs to the team. Without the line of apps/accounts/ it is not changed.
    readme = re.search(r"^apps/accounts/ +\S[^\n]*\n(?:apps/(?!operations)\w+/ [^\n]*\n)*", texts[README], re.MULTILINE)
    if readme:
        line = f"{f'apps/{label}/':<17} {resource.plural.replace('_', ' ')}\n"
        found[README] = texts[README][: readme.end()] + line + texts[README][readme.end() :]
    return found


def yours(contracts: str) -> list[str]:
    """Return the labels of the apps between operations and accounts."""
    return [label for line in _layers(contracts) for label in line]


def _layers(contracts: str) -> list[list[str]]:
    """Return the layers of your apps, from top to bottom."""
    block = re.search(_YOURS + r'((?: +"[\w |:]+",\n)*?) +"accounts",\n', contracts, re.MULTILINE)
    if block is None:
        raise Refused(
            f'{CONTRACTS}: the comment \'# Your apps\' above "accounts" is missing in the layers of the contract "apps". '
            'Put it back, or add the app by hand there, in INSTALLED_APPS, in project/urls.py and in the containers of "inside".'
        )
    return [re.findall(r"\w+", line) for line in block[1].splitlines()]


def _contracts(resource: Resource, text: str) -> str:
    """Return the contracts with the app: next to the others, or above those that it refers to."""
    layers = _layers(text)
    below = {spec.target.label for spec in resource.fields if spec.target} - {resource.label}
    block = re.search(_YOURS, text, re.MULTILINE)
    assert block is not None  # found by _layers
    if layers and not below:
        first = re.compile(r'( +")([\w |:]+",\n)')
        text = text[: block.end()] + first.sub(rf"\g<1>{resource.label} | \g<2>", text[block.end() :], count=1)
    else:
        text = f'{text[: block.end()]}    "{resource.label}",\n{text[block.end() :]}'
    containers = re.search(r'(id = "inside"\n.*?^containers = \[)', text, re.MULTILINE | re.DOTALL)
    if containers is None:
        raise Refused(f'{CONTRACTS}: containers = [...] is missing in the contract "inside". Put the line back.')
    return f'{text[: containers.end()]}"apps.{resource.label}", {text[containers.end() :]}'


def _above(resource: Resource, layers: list[list[str]]) -> None:
    """Refuse a relation that the order of the apps forbids."""
    mine = next((place for place, line in enumerate(layers) if resource.label in line), -1)
    for spec in resource.fields:
        if spec.target is None or spec.target.label == resource.label:
            continue
        other = next((place for place, line in enumerate(layers) if spec.target.label in line), -1)
        if other <= mine:
            raise Refused(
                f"{spec.name}: {resource.label} cannot import {spec.target.label}, since it is in the same or a lower layer. "
                f'Give "{resource.label}" a line of its own above "{spec.target.label}" in {CONTRACTS}, then try again.'
            )


def _behind(text: str, pattern: str, line: str, *, where: str) -> str:
    """Return the text with a line after the only match of a pattern; raise ``Refused``."""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        raise Refused(f"{where}: there must be one line '# Your apps:', not {len(found)}. Put it back, then try again.")
    return text[: found[0].end()] + line + text[found[0].end() :]
