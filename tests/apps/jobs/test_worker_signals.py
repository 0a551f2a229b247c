"""A signal that stops the worker while it writes a job to a process of its pool."""

import signal
import sys
from collections.abc import Iterator
from types import FrameType

import pytest
from celery.concurrency import asynpool
from kombu.asynchronous import Hub

from apps.jobs.worker import JobRequest, _after_write


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setattr(JobRequest, "hub", hub)
    yield hub
    hub.close()


def frame_below(file: str) -> FrameType:
    """Return a frame that a function in ``file`` has called."""
    found: list[FrameType] = []
    code = compile("def write(call): call()", file, "exec")
    space: dict = {}
    exec(code, space)
    space["write"](lambda: found.append(sys._getframe()))
    return found[0]


def test_signal_during_a_write_waits_for_the_event_loop(hub: Hub) -> None:
    stops: list[int] = []
    _after_write(lambda number, _: stops.append(number), signal.SIGTERM, frame_below(asynpool.__file__))
    assert stops == []
    hub.run_once()
    assert stops == [signal.SIGTERM]


def test_other_signals_are_handled_at_once(hub: Hub) -> None:
    stops: list[int] = []
    _after_write(lambda number, _: stops.append(number), signal.SIGTERM, frame_below(__file__))
    assert stops == [signal.SIGTERM]
