"""What TCP is to do about peers that have gone without a word."""

from __future__ import annotations

import socket
from typing import Final

# A peer that has gone without a word is noticed after 150 s: Linux would begin to ask
# after two hours, when a tunnel has long been ended for its silence.
_ASK_AFTER_S: Final = 60
_ASK_EVERY_S: Final = 15
_ASK_TIMES: Final = 6
# The same where something was sent to it: TCP does not ask then, and would send it
# again for a quarter of an hour.
_TAKES_NOTHING_S: Final = _ASK_AFTER_S + _ASK_EVERY_S * _ASK_TIMES


# tcp_states.h: of a connection that was reset or timed out, or is over both ways.
_TCP_CLOSE: Final = 7


def is_over(connection: socket.socket) -> bool:
    """Tell whether nothing goes either way, without asking what the peer has said.

    C{ssl} before Python 3.12.4 reads the end of a connection that was reset or timed
    out like the end of what the peer had to say, and the error is gone by then
    (python/cpython#115627).
    """
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:  # it is no connection of TCP
        return False
    return info[0] == _TCP_CLOSE


def notice_death(connection: socket.socket) -> None:
    """Have TCP ask silent peers whether they live; accepted sockets inherit it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_EVERY_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASK_TIMES)


def notice_loss(connection: socket.socket) -> None:
    """Have TCP give up peers that take nothing of what is sent; inherited likewise.

    RFC 5482. Linux means peers that live and have no room, too: not for the connection
    to an app that takes a body in its own time.
    """
    connection.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TAKES_NOTHING_S * 1000
    )
