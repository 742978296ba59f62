"""Whose files they are: root's commands act as the user that haloyd runs as.

What root would write, the daemon could not read. Docker's group comes along, so a
check that passes here passes in the daemon.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from haloy.daemon.paths import Directories


def become_owner(chosen: Directories) -> None:
    """Go on as the owner of the data directory, if we are root and it is not."""
    if os.geteuid() != 0:
        return
    owner = owner_of(chosen.data)
    if owner is None or owner == 0:
        return
    user = pwd.getpwuid(owner)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
    os.umask(0o077)


def owner_of(path: Path) -> int | None:
    """Return the owner's number, C{None} without a file or an account of it."""
    try:
        found = path.stat().st_uid
        pwd.getpwuid(found)
    except (OSError, KeyError):
        return None
    return found
