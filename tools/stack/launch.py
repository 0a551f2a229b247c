"""Become a server that ends when the process that started it ends.

Run by path in a bare interpreter (`python -I -S launch.py SIGNAL PARENT USER COMMAND…`), so that no code runs
between fork and exec in a parent that may have threads. Imports the standard library only.

USER is `same` (no change), `namespace` (root only: enter a user namespace in which root appears as the ordinary user
1000, because PostgreSQL refuses to run as root) or a number (root only: that user and group).
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_NAMESPACE_USER = 1000


def namespace_enter() -> None:
    """Enter a user namespace in which this process is user and group 1000. Raises OSError where the kernel refuses."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "This system refuses user namespaces.")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NAMESPACE_USER} {user} 1"),
        ("gid_map", f"{_NAMESPACE_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def user_become(user: str) -> None:
    """Change to the user named on the command line (see the module's docstring)."""
    if user == "namespace":
        namespace_enter()
    elif user != "same":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))


def main(arguments: list[str]) -> None:
    """Change user, reset signals, ask for a signal on the parent's death, then become the command."""
    number, parent, user, *command = arguments
    user_become(user)
    for ignored in (signal.SIGINT, signal.SIGQUIT):  # A shell's background job inherits them ignored.
        signal.signal(ignored, signal.SIG_DFL)
    if sys.platform == "linux":
        # After the change of user, because the kernel clears the setting when credentials change.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != int(parent):  # It died before we could ask.
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - becoming the command is what this program is for


if __name__ == "__main__":
    main(sys.argv[1:])
