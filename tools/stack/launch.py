"""Become a server that ends when the process which started it ends.

Run by path in a bare interpreter (`python -I -S launch.py SIGNAL PARENT USER COMMAND…`), so that nothing has to
be done between fork and exec inside a parent that may hold threads. It imports the standard library alone.

USER is `same` (stay who we are), `namespace` (root only: a user namespace in which root is the ordinary user
1000; PostgreSQL refuses to run as root) or a number (root only: that user and group, nothing else).
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_NAMESPACE_USER = 1000


def namespace_enter() -> None:
    """Enter a user namespace that shows this process as user and group 1000; raise OSError where it is refused."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are refused here")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NAMESPACE_USER} {user} 1"),
        ("gid_map", f"{_NAMESPACE_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def user_become(user: str) -> None:
    """Take on the identity named on the command line (see the module's text)."""
    if user == "namespace":
        namespace_enter()
    elif user != "same":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))


def main(arguments: list[str]) -> None:
    """Change user, take signals as they come, ask for a signal on the parent's death, then become the command."""
    number, parent, user, *command = arguments
    user_become(user)
    for ignored in (signal.SIGINT, signal.SIGQUIT):  # Ignored in a shell's background job, and inherited.
        signal.signal(ignored, signal.SIG_DFL)
    if sys.platform == "linux":
        # After the change of user: the kernel forgets the wish when credentials change.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != int(parent):  # It died before we could ask.
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - becoming the command is what this program is for


if __name__ == "__main__":
    main(sys.argv[1:])
