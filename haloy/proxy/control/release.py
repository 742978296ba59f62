"""Which release this program is, and whether it can talk to one of another release.

Not for workers: what finds out a release is 2 MB of modules, in each of them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from haloy.proxy.control.protocol import PROTOCOL, Hello

#: Read when the program starts: an upgrade may put another one in its place later.
RELEASE: Final = version("haloy")


def installed() -> str:
    """Return the release that is installed now: what starts is of that one."""
    return version("haloy")


def version_problem(hello: Hello) -> str:
    """Return why we cannot talk to the sender of C{hello}; C{""}: we can."""
    if hello.protocol == PROTOCOL:
        return ""
    older = "the other side" if hello.protocol < PROTOCOL else "this side"
    return (
        f"protocol {hello.protocol} (release {hello.release or installed()}) does "
        f"not fit protocol {PROTOCOL} (release {RELEASE}): restart {older} with the "
        "newer release"
    )
