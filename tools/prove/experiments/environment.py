"""environment (138): production refuses to boot with mistakes, and names all of them at once."""

import subprocess
import sys
import time

from tools.prove.ground import Evidence, Ground

MISTAKES = {
    "SECRET_KEY": "sesame",
    "ALLOWED_HOSTS": "*",
    "WEB_THREADS": "many",
    "JWT_KEYS": "",
    "PUBLIC_URL": "http://a.example",
}


def prove(ground: Ground) -> Evidence:
    """This function will start the service with five mistakes and read the report."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", "import project.wsgi"],
        cwd=ground.root,
        env={**ground.environment, **MISTAKES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seconds = time.monotonic() - started
    named = [name for name in MISTAKES if name in ran.stderr]
    leaked = "sesame" in ran.stderr + ran.stdout
    return Evidence(
        did=f"started the service with {len(MISTAKES)} mistakes in its environment",
        saw=(
            f"exit status {ran.returncode} after {seconds:.1f} s, {len(named)} of {len(MISTAKES)} named in one report, "
            f"traceback: {'Traceback' in ran.stderr}, secret shown: {leaked}"
        ),
        holds=ran.returncode == 1 and len(named) == len(MISTAKES) and "Traceback" not in ran.stderr and not leaked,
    )
