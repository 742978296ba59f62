"""What a process may do no longer, and who is at the other end of a socket.

Everything here is Linux: prctl(2), capset(2), unix(7). What the kernel does not have
is left out: the less is not lost by it than by not starting.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import socket
import struct
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from haloy.errors import ConfigError

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAP_LAST: Final = 63
_CAPABILITY_VERSION_3: Final = 0x20080522
_SO_PEERGROUPS: Final = 59
# Python reads 1024 bytes of an option at most.
_GROUPS_LIMIT: Final = 256

_log = Logger()


@frozen
class Peer:
    """The process at the other end of a unix socket, as the kernel saw it connect."""

    pid: int
    uid: int
    groups: frozenset[int]


def become(user: str, folder: Path) -> None:
    """Be C{user} from now on, in no group but its own. Only root can.

    C{folder} and the files in it are given to the user before; where that cannot be
    done it is told.

    @raise ConfigError: there is no such user, or we are not root.
    """
    try:
        who = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user}") from None
    if os.geteuid() == who.pw_uid:
        return
    if os.geteuid() != 0:
        raise ConfigError(f"only root can become {user}: leave --user out")
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)
    except OSError as problem:
        _log.error(
            "{folder} cannot be given to {user}: {problem}",
            folder=str(folder),
            user=user,
            problem=problem.strerror,
        )
    _forget_capabilities(ctypes.CDLL(None))  # while we may: it takes one itself
    os.setgroups([])
    os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
    os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)


def give_up_privileges() -> None:
    """Keep no capability, and never get one again, nor any child of ours.

    Ports are bound by then. Root stays root over files; that is what C{--user} is for.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:
        return
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _forget_capabilities(libc)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)
    if libc.capset(header, nothing):
        _log.warn(
            "the right to bind low ports cannot be given up: {problem}; if systemd's "
            "unit of haloy-proxy forbids capset, it is of an older release",
            problem=os.strerror(ctypes.get_errno()),
        )
    # Keys of certificates are in this memory: no core file of it, no other's look.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _forget_capabilities(libc: ctypes.CDLL) -> None:
    """Let no program started from here get a capability that this one has not."""
    for capability in range(_CAP_LAST + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def peer_of(connection: socket.socket) -> Peer:
    """Return who has connected (unix(7), C{SO_PEERCRED})."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, gid = struct.unpack("=iII", found)
    try:
        more = connection.getsockopt(
            socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _GROUPS_LIMIT
        )
    except OSError:
        more = b""
    groups = struct.unpack(f"={len(more) // 4}I", more)
    return Peer(pid, uid, frozenset((gid, *groups)))


def may_control(peer: Peer, uid: int, group: int | None) -> bool:
    """Return whether C{peer} is root, the user C{uid}, or a member of C{group}."""
    return peer.uid in (0, uid) or (group is not None and group in peer.groups)


def group_id(name: str) -> int | None:
    """Return the number of a group, C{None} where there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
