"""The merging of two modules: imports at the top, equal definitions once, lists and tables extended."""

import ast

from tools.startresource.specification import Refused

TABLE = "# operation"


def merged(old: str, new: str, *, name: str) -> str:
    """Return ``old`` followed by the definitions of ``new``, with the imports of both, which the caller sorts.

    Identical definitions are not repeated. A list or dictionary of the same name gets the new entries. Raise ``Refused`` if
    both define different things under one name.
    """
    head, body = _parts(old)
    new_head, _ = _parts(new)
    there = {word: node for node in ast.parse(old).body for word in names_of(node)}
    imports = _imports(new, new_head)
    lines = new.splitlines()
    end, added = new_head, []
    for node in ast.parse(new).body:
        if (node.end_lineno or 0) <= new_head:
            continue
        text = "\n".join(lines[end : node.end_lineno])
        end = node.end_lineno or end
        clash = next((there[word] for word in names_of(node) if word in there), None)
        if clash is None:
            added.append(text)
        elif ast.dump(clash) != ast.dump(node):
            body = _grown(body, clash, node, name=name)
    old_lines = old.splitlines()[:head]
    return "\n".join([*old_lines, *imports, body.rstrip("\n"), *added, ""])


def merged_table(old: str, new: str) -> str:
    """Return a table of operations with the rows of another, aligned."""
    lines_of: dict[tuple[str, ...], str] = {}
    for line in filter(str.strip, (old + new).splitlines()):
        lines_of.setdefault(tuple(line.split()), line)
    words = [list(row) for row in lines_of]
    widths = [max(len(_cells(row)[i]) for row in words if len(_cells(row)) > i) for i in range(12)]
    lines = []
    for row in words:
        line = lines_of[tuple(row)]
        cells = _cells(row)
        is_row = len(cells) == len(widths) and (not line.startswith("#") or line.startswith(TABLE))
        lines.append("  ".join(map(str.ljust, cells, widths)).rstrip() if is_row else line)
    return "\n".join([*lines, ""])


def _cells(words: list[str]) -> list[str]:
    return [" ".join(words[:2]), *words[2:]] if words[:1] == ["#"] else words


def _parts(text: str) -> tuple[int, str]:
    """Return the number of lines of docstring and imports, and the text after them."""
    end = 0
    for place, node in enumerate(ast.parse(text).body):
        is_docstring = place == 0 and isinstance(node, ast.Expr)
        if not is_docstring and not isinstance(node, ast.Import | ast.ImportFrom):
            break
        end = node.end_lineno or end
    return end, "\n".join(text.splitlines()[end:])


def _imports(text: str, head: int) -> list[str]:
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_future and (node.end_lineno or 0) <= head:
            found += lines[node.lineno - 1 : node.end_lineno]
    return found


def names_of(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def _grown(body: str, old: ast.stmt, new: ast.stmt, *, name: str) -> str:
    """Return the body with the entries of a list or dictionary added to the one of the same name."""
    word = names_of(new)[0]
    both = [node.value if isinstance(node, ast.Assign) else node for node in (old, new)]
    if not all(isinstance(value, ast.List) for value in both) and not all(
        isinstance(value, ast.Dict) for value in both
    ):
        raise Refused(f"{name} already defines {word}. Rename that, or choose another name for the resource.")
    start = body.index(f"\n{word} = ") + 1
    node = ast.parse(body[start:]).body[0]
    lines = body[start:].splitlines(keepends=True)
    end = (
        start
        + sum(map(len, lines[: (node.end_lineno or 1) - 1]))
        + len(lines[(node.end_lineno or 1) - 1][: node.end_col_offset])
    )
    entries = ast.unparse(both[1])[1:-1]
    inside = body[start : end - 1].rstrip()
    comma = "" if inside.endswith((",", "[", "{")) else ","
    return f"{body[:start]}{inside}{comma}\n{entries},\n{body[end - 1 :]}"
