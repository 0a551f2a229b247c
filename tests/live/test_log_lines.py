"""What web and worker write in production, from the first line to the last: JSON, and nothing else."""

import json
import signal
from typing import Any

import pytest

from tests.faults.submitters import Owner
from tests.fleet import ask, fleet_running
from tools.fleet import Service
from tools.stack import Stack


def _lines(service: Service) -> list[dict[str, Any]]:
    """Every line of standard output and error."""
    lines = service.log().splitlines()
    assert lines
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_every_line_is_json(stack: Stack, stop: signal.Signals) -> None:
    with fleet_running(stack, instances=1, edge=False, worker=True) as fleet:
        owner = Owner(fleet)
        owner.wait(owner.submit(0.1), "succeeded")
        assert ask(fleet.url, "/api/v1/sample/notes/broken").status == 500
        assert fleet.worker is not None
        for service in (fleet.webs[0], fleet.worker):
            assert service.process is not None
            service.process.send_signal(stop)
            service.wait(27)
        for service in (fleet.webs[0], fleet.worker):
            lines = _lines(service)
            assert all({"event", "level", "logger", "time"} <= set(line) for line in lines)
        told = {line["event"]: line for line in _lines(fleet.worker)}
    assert told["worker_starting"]["queues"] == ["default", "mail"]
    assert any("shutdown (MainProcess)" in event for event in told), "what Celery says while it stops"
