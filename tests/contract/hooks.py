"""What Schemathesis cannot guess: things that exist, tokens that work once, a file that can be imported.

Every second valid request of an operation acts on a new object of the app's scenario and takes its body from there, so that
what exists and what does not are both seen, however much has been deleted meanwhile. Objects are made in the service's own
database: this process has the service's environment.
"""

import atexit
import json
import os
import re
from collections import Counter, defaultdict
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import django

django.setup()

import schemathesis  # noqa: E402 - what follows needs Django
from django.conf import settings  # noqa: E402 - as above
from schemathesis import Case, GenerationMode, HookContext  # noqa: E402 - as above
from schemathesis.core.failures import Failure  # noqa: E402 - as above

from apps.accounts.models import Transport  # noqa: E402 - as above
from tests.access import Row, rows, scenarios  # noqa: E402 - as above
from tests.apps.accounts.factories import sign_in, user_create  # noqa: E402 - as above
from tests.contract.document import BESIDE  # noqa: E402 - as above

_ROLE = os.environ["CONTRACT_ROLE"]  # "nobody", or who holds every permission there is
_ANSWERS = Path(os.environ["CONTRACT_ANSWERS"])
# What no schema can say, by the pointer of the error: docs/decisions/0111-spectral-by-hand.md has the reasons.
_BEYOND_SCHEMA = (
    (r".*", {"marks", "max_length", "does_not_exist"}),  # lengths are those of normal form C; rows come and go
    (r"/body", {"blank", "bidi", "control", "html"}),  # what is left of HTML, and what its entities stand for
    (r"/(new_)?password", {"password_too_short"}),  # counted in normal form KC
    (r"/(new_)?password", {"password_too_common", "password_too_similar", "password_entirely_numeric"}),
    (r"/file", {"header", "format", "encoding", "empty"}),  # what is in a file
    (r"/slug|/email", {"invalid"}),  # letters and marks of a script; a domain that encodes nothing
    (r"\?cursor", {"invalid"}),  # signed
    (r"\?(ordering|ranked|search|tag|state)", {"invalid", "invalid_choice", "unsupported", "unknown"}),  # each other
)
_CHEAPER = {
    "If-Match": {"enum": ["*", '"1.0123456789abcdef"']},
    "fields": {"enum": ["id", "id,created_at"]},
    "cursor": {"enum": ["W10.signed"]},  # no cursor is made up; a page's own are followed by the lists' tests
}
LONG = 1_000  # characters
_turns: Counter[str] = Counter()
_answers: Counter[tuple[str, int]] = Counter()
_rows: defaultdict[str, list[Row]] = defaultdict(list)
for _row in rows():
    _rows[_row.operation or ""].append(_row)
_owner = user_create(email=f"{_ROLE}@contract.example", is_staff=True, is_superuser=True)
_token = sign_in(_owner).access


_TOKENLESS = (
    *("auth_register", "auth_login", "auth_refresh", "auth_email_verify", "auth_email_verify_request"),
    *("auth_password_reset", "auth_password_reset_confirm"),
)


@schemathesis.auth().skip_for(operation_id=list(_TOKENLESS))
class Bearer:
    """A superuser's token, so that every operation can succeed. Operations that end a session or account use their own."""

    def get(self, case: Case, context: schemathesis.AuthContext) -> str:
        return _token

    def set(self, case: Case, data: str, context: schemathesis.AuthContext) -> None:
        if _ROLE == "nobody":
            return
        name = _name(case)
        if name == "auth_csrf":  # the one that bearer tokens are of no use for
            access = sign_in(_owner, transport=Transport.COOKIE).access
            case.cookies = {**(case.cookies or {}), settings.TOKENS_ACCESS_COOKIE: access}
            return
        owner = user_create(email=_fresh()) if name in ("auth_password_change", "me_delete") else _owner
        is_own = owner != _owner or name == "auth_logout"
        token = sign_in(owner).access if is_own else data
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Put a thing of the scenario in every second valid request; a sequence of requests keeps its own things."""
    if (
        case.meta is None
        or case.meta.generation.mode != GenerationMode.POSITIVE
        or case.method != case.operation.method.upper()
    ):
        return
    if case.headers and "Idempotency-Key" in case.headers:  # one that was sent before stands for another request
        case.headers["Idempotency-Key"] = str(uuid4())
    if "stateful" in case.meta.phase.name.value.lower():
        return
    name = _name(case)
    _turns[name] += 1
    if _turns[name] % 2:
        _staged(case, _rows[name][_turns[name] // 2 % len(_rows[name])] if _rows[name] else None)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: schemathesis.Response) -> None:
    """Count the answer, unless the request's method is none of the operation's."""
    if case.method == case.operation.method.upper():
        _answers[_name(case), response.status_code] += 1


def _staged(case: Case, row: Row | None) -> None:
    """Make the request one that the row's scenario can answer."""
    if row is None:
        return
    scenario = scenarios()[row.app]
    if row.on is not None and case.path_parameters:
        owner = _owner if _name(case) != "users_read" else user_create(email=_fresh())
        thing = scenario.objects[row.on](owner)
        case.path_parameters = {name: str(thing.pk) for name in case.path_parameters}
    # A new password ends every session of its account.
    owner = user_create(email=_fresh()) if _name(case) == "auth_password_reset_confirm" else _owner
    body = scenario.body(row.operation, owner)
    if body is not None:
        case.body = {key: value.decode() if isinstance(value, bytes) else value for key, value in body.items()}


def _fresh() -> str:
    return f"{uuid4()}@contract.example"


def _name(case: Case) -> str:
    return str(case.operation.definition.raw["operationId"])


@atexit.register
def _report() -> None:
    found: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for (name, status), count in _answers.items():
        found[name][status] = count
    _ANSWERS.write_text(json.dumps(found))


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: schemathesis.Response) -> bool:
    """Drop what is no failure here; each kind with its reason."""
    if BESIDE.match(urlsplit(response.request.url).path):
        return False  # a made-up id was the name of a route of the sample's that is not documented
    if failure.code == "ST202":
        # Refused for what JSON Schema cannot say, in every error of the answer.
        errors = response.json().get("errors", []) if response.status_code == HTTPStatus.BAD_REQUEST else []
        return not errors or not all(_beyond_schema(error["pointer"], error["code"]) for error in errors)
    if failure.code == "ST201":
        if "larger than maxLength" in failure.message and _trimmed(case.query) | _trimmed(case.body):
            return False
        # The enumerations above stand for patterns. In a query all is text, of which numbers and booleans are read.
        return not any(f"`{name}`" in failure.message for name in _CHEAPER) and "Incorrect type" not in failure.message
    # Cancelling is a DELETE that answers what it ended: the job stays, to be looked at.
    return not (failure.code == "ST301" and context.operation is not None and "/jobs/" in context.operation.path)


def _trimmed(values: Any) -> bool:
    """Return whether a text has outer white space, which is removed before its length is measured."""
    texts = values.values() if isinstance(values, dict) else ()
    return any(isinstance(one, str) and one != one.strip() for one in texts)


def _beyond_schema(pointer: str, code: str) -> bool:
    return any(code in codes and re.fullmatch(where, pointer) for where, codes in _BEYOND_SCHEMA)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Replace patterns with cheaper equivalents: drawing a long text from a pattern takes up to a second."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] |= _CHEAPER.get(parameter["name"], {})
    _without_patterns(raw_schema)


def _without_patterns(node: Any) -> None:
    """Leave out "no NUL", which `allow-x00` says, what an enumeration replaces, and the pattern of long texts."""
    for child in list(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()):
        _without_patterns(child)
    if (
        isinstance(node, dict)
        and "pattern" in node
        and (node["pattern"] == r"^[^\u0000]*$" or "enum" in node or node.get("maxLength", 0) > LONG)
    ):
        del node["pattern"]
