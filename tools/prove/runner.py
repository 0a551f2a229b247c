"""Runs the experiments one after another and says what came of each."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from apps.operations.catalogue import PRACTICES
from tools.prove.ground import Ground, ground_open

SETTINGS_MODULE = "tests.sample.settings"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One practice's experiment. ``status`` is proved or failed; ``seconds`` is what it took."""

    word: str
    number: int
    status: str
    did: str
    saw: str
    seconds: float

    def document(self) -> dict[str, Any]:
        return asdict(self)


def prove(
    *, words: Sequence[str], settings_module: str = SETTINGS_MODULE, extra: Mapping[str, str] | None = None
) -> Iterator[Outcome]:
    """This function will boot the private stack and yield one outcome per practice, in the order of the guide.

    ``extra`` holds environment variables for the service. Raises StackError when the stack does not start.
    """
    with ground_open(settings_module=settings_module, extra=extra or {}) as ground:
        for practice in PRACTICES:
            if practice.word in words:
                yield _outcome(practice.word, practice.number, ground)


def _outcome(word: str, number: int, ground: Ground) -> Outcome:
    experiment = import_module(f"tools.prove.experiments.{word}")
    started = time.monotonic()
    try:
        evidence = experiment.prove(ground)
        did, saw, holds = evidence.did, evidence.saw, evidence.holds
    except Exception as error:  # noqa: BLE001 - an experiment that breaks down has not proved its practice; say why, go on
        did, saw, holds = (experiment.__doc__ or word).strip(), f"broke down: {type(error).__name__}: {error}", False
    seconds = time.monotonic() - started
    ground.heal()
    return Outcome(
        word=word,
        number=number,
        status="proved" if holds else "failed",
        did=did,
        saw=saw,
        seconds=round(seconds, 1),
    )
