"""Runs the experiments one after another and reports the outcome of each."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from tools.prove.practices import PRACTICES
from tools.prove.sandbox import Result, Sandbox, sandbox_open

SETTINGS_MODULE = "tests.sample.settings"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one practice's experiment. ``status`` is ``proved`` or ``failed``; ``seconds`` is its duration."""

    word: str
    number: int
    status: str
    did: str
    saw: str
    seconds: float


def prove(
    *, words: Sequence[str], settings_module: str = SETTINGS_MODULE, extra: Mapping[str, str] | None = None
) -> Iterator[Outcome]:
    """Boot the private stack and yield one outcome per practice, in the order of the guide.

    ``extra`` holds environment variables for the service. Raises StackError if the stack does not start.
    """
    with sandbox_open(settings_module=settings_module, extra=extra or {}) as sandbox:
        for word, number in PRACTICES.items():
            if word in words:
                yield _outcome(word, number, sandbox)


def _outcome(word: str, number: int, sandbox: Sandbox) -> Outcome:
    experiment = import_module(f"tools.prove.experiments.{word}")
    started = time.monotonic()
    try:
        result = experiment.prove(sandbox)
    except Exception as error:  # noqa: BLE001 - an experiment that breaks down has not proved its practice; report it and go on
        description = (experiment.__doc__ or word).strip()
        result = Result(did=description, saw=f"stopped with {type(error).__name__}: {error}", passed=False)
    seconds = time.monotonic() - started
    sandbox.restore()
    return Outcome(
        word=word,
        number=number,
        status="proved" if result.passed else "failed",
        did=result.did,
        saw=result.saw,
        seconds=round(seconds, 1),
    )
