"""environment: production does not start with configuration mistakes, and reports all of them at once."""

import subprocess
import sys
import time

from tools.prove.sandbox import Result, Sandbox

MISTAKES = {
    "SECRET_KEY": "sesame",
    "ALLOWED_HOSTS": "*",
    "WEB_THREADS": "many",
    "JWT_KEYS": "",
    "PUBLIC_URL": "http://a.example",
}


def prove(sandbox: Sandbox) -> Result:
    """Start the service with five mistakes in its environment and read the report."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", "import project.wsgi"],
        cwd=sandbox.root,
        env={**sandbox.environment, **MISTAKES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seconds = time.monotonic() - started
    named = [name for name in MISTAKES if name in ran.stderr]
    leaked = "sesame" in ran.stderr + ran.stdout
    return Result(
        did=f"started the service with {len(MISTAKES)} mistakes in its environment",
        saw=(
            f"exit status {ran.returncode} after {seconds:.1f} s, {len(named)} of {len(MISTAKES)} named in one report, "
            f"traceback: {'Traceback' in ran.stderr}, secret shown: {leaked}"
        ),
        passed=ran.returncode == 1 and len(named) == len(MISTAKES) and "Traceback" not in ran.stderr and not leaked,
    )
