"""Run PostgreSQL and Valkey without bin/dev: `python -m tools.stack --help`."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from .core import Stack
from .sources import StackError

_VAR = Path(__file__).resolve().parents[2] / "var"


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.stack", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=_VAR, help="folder of the data and of stack.json (default: var)"
    )
    parser.add_argument("command", choices=["up"], help="run PostgreSQL and Valkey until Ctrl-C")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a background job begins with it ignored
        signal.signal(number, _interrupt)
    try:
        with Stack(options.directory) as stack:
            state = stack.state
            for name, pid in state.pids.items():
                print(f"{name}: process {pid}, from the {state.sources[name]}", flush=True)
            signal.pause()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
