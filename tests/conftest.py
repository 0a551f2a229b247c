"""Every pytest session has PostgreSQL and Valkey of its own, started before Django reads its settings.

`DATABASE_URL` and `REDIS_URL` in the environment are used as they are. pytest-django sets Django up in its own
`pytest_configure`, which comes last; so nothing else may name the settings module earlier.
"""

import os

import pytest

from apps.operations.stack import Stack, StackError

_STACK = pytest.StashKey[Stack]()
_VARIABLES = ("DATABASE_URL", "REDIS_URL")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the throw-away stack and point the settings at it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    os.environ.pop("DJANGO_ENV", None)
    given = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    stack = Stack.temporary(given=given)
    try:
        state = stack.start()
    except StackError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_STACK] = stack
    os.environ.update(state.urls)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the stack and remove its folder."""
    stack = config.stash.get(_STACK, None)
    if stack is not None:
        stack.stop()


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Stack:
    """The session's stack; a test that breaks a service of it puts it back (`stack.restart(name)`)."""
    return pytestconfig.stash[_STACK]
