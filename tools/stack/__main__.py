"""Run PostgreSQL and Valkey by hand: `python -m tools.stack --help`."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from .core import Stack, StackState
from .processes import launch_command
from .sources import StackError

_VAR = Path(__file__).resolve().parents[2] / "var"


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.stack", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=_VAR, help="folder of the data and of stack.json (default: var)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="run PostgreSQL and Valkey until Ctrl-C")
    commands.add_parser("status", help="print what is running; exit status 1 if nothing is")
    commands.add_parser("down", help="stop the process that runs the stack, and the stack with it")
    run = commands.add_parser("run", help="run a command with DATABASE_URL and REDIS_URL of a temporary stack")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a background job begins with it ignored
        signal.signal(number, _interrupt)
    try:
        if options.command == "up":
            return _up(options.directory)
        if options.command == "run":
            return _run(options.argv[options.argv[:1] == ["--"] :] or ["/bin/sh"])
        return _status(options.directory) if options.command == "status" else _down(options.directory)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _up(directory: Path) -> int:
    with Stack(directory) as stack:
        _print(stack.state)
        signal.pause()
    return 0


def _run(argv: list[str]) -> int:
    with Stack.temporary() as stack:
        settings = [f"{name}={url}" for name, url in stack.state.urls.items()]
        return subprocess.run(launch_command(["/usr/bin/env", *settings, *argv]), check=False).returncode


def _status(directory: Path) -> int:
    state = StackState.read(directory / "stack.json")
    if state is None:
        print(f"Nothing is running in {directory}. Start it with bin/dev.")
        return 1
    _print(state)
    return 0


def _down(directory: Path) -> int:
    state = StackState.read(directory / "stack.json")
    if state is None:
        return 0
    os.kill(state.pid, signal.SIGTERM)
    for _ in range(100):
        if StackState.read(directory / "stack.json") is None:
            return 0
        time.sleep(0.1)
    raise StackError(f"Process {state.pid} has not stopped within 10 s.")


def _print(state: StackState) -> None:
    for name, pid in state.pids.items():
        print(f"{name}: process {pid}, from the {state.sources[name]}", flush=True)
    print(f"started by process {state.pid}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
