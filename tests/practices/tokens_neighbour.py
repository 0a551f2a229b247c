"""Another process of the service: asks for its account with a token until it is refused. Run by test_tokens.py.

Arguments: the access token. Writes "open" after the first 200, then the seconds for which it had been open.
"""

import sys
import time

import django


def main(token: str) -> None:
    django.setup()
    from django.test import Client

    client = Client(headers={"authorization": f"Bearer {token}"})
    assert client.get("/api/v1/me").status_code == 200
    print("open", flush=True)
    sys.stdin.readline()  # "ended": the other process has committed
    began = time.monotonic()
    while client.get("/api/v1/me").status_code == 200:
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
