"""Keys of session tickets that several workers share, for a day each.

A ticket (RFC 5077, RFC 8446 section 4.6.1) can be read by who has the key that it was
sealed with. Python's C{ssl} leaves the keys to OpenSSL, which makes some for each
context: a client that comes back to another worker would shake hands in full.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import os
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.model.certificate import Secret

#: Name, MAC key and cipher key (SSL_CTX_set_tlsext_ticket_key_cb(3)).
SIZE_BYTES: Final = 80
LIFE_S: Final = 86400.0

_SET: Final = 59  # SSL_CTRL_SET_TLSEXT_TICKET_KEYS of openssl/ssl.h
_GET: Final = 58
_HEAD_WORDS: Final = 4

_log = Logger()


def new_keys() -> Secret:
    """Return keys that nobody knows."""
    return Secret(os.urandom(SIZE_BYTES))


class SharedKeys:
    """The keys of today.

    @ivar keys: what to use now.
    """

    def __init__(
        self,
        reactor: Any,
        changed: Callable[[Secret], None],
        make: Callable[[], Secret] = new_keys,
    ) -> None:
        self.keys = make()
        self._make = make
        self._changed = changed
        self._daily = LoopingCall(self._renew)
        self._daily.clock = reactor

    def start(self) -> None:
        """Make new ones every day, and call C{changed} with them."""
        self._daily.start(LIFE_S, now=False).addErrback(
            lambda failure: _log.failure("renewing the keys of tickets failed", failure)
        )

    def stop(self) -> None:
        """Let the newest ones be the last."""
        if self._daily.running:
            self._daily.stop()

    def _renew(self) -> None:
        self.keys = self._make()
        self._changed(self.keys)


def use_keys(context: ssl.SSLContext, keys: Secret) -> bool:
    """Let C{context}, not used yet, seal its tickets with C{keys}.

    OpenSSL has a public call for it; the C{ssl} module does not say where its
    C{SSL_CTX} is. It is looked for where CPython keeps it, and nothing is done unless
    what is found there is one (see docs/decisions/0008).

    @return: whether that worked; if not, the context has keys of its own.
    """
    openssl = _openssl()
    if openssl is None or len(keys.value) != SIZE_BYTES:
        return False
    address = _address(context, openssl.server_method)
    if address is None:
        return False
    given = ctypes.create_string_buffer(keys.value, SIZE_BYTES)
    kept = ctypes.create_string_buffer(SIZE_BYTES)
    return (
        openssl.control(address, _SET, SIZE_BYTES, given) == 1
        and openssl.control(address, _GET, SIZE_BYTES, kept) == 1
        and kept.raw == given.raw
    )


@frozen
class _OpenSsl:
    """C{SSL_CTX_ctrl}, and what C{TLS_server_method} returns."""

    control: Callable[..., int]
    server_method: int


@functools.cache
def _openssl() -> _OpenSsl | None:
    """Return what is needed of it, C{None}: it is hidden (linked statically)."""
    try:
        # The extension module itself: its OpenSSL, whatever else is loaded.
        library = ctypes.CDLL(_ssl.__file__)
        control, method = library.SSL_CTX_ctrl, library.TLS_server_method
    except (AttributeError, OSError):
        return None
    control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
    control.restype = ctypes.c_long
    method.restype = ctypes.c_void_p
    return _OpenSsl(control, method())


def _address(context: ssl.SSLContext, server_method: int) -> int | None:
    """Return where the C{SSL_CTX} of C{context} is, C{None}: not to be found.

    CPython has it in the first field after an object's header; and an C{SSL_CTX}
    for servers has its method among its first words.
    """
    if sys.implementation.name != "cpython":
        return None
    place = id(context) + object.__basicsize__
    address = ctypes.c_void_p.from_address(place).value or 0
    return address if server_method in _words_at(address) else None


def _words_at(address: int) -> tuple[int, ...]:
    """Return the first words at C{address}; none where nothing may be read.

    The kernel copies them: for an address that is none it answers C{EFAULT}, where
    looking ourselves would end the process.
    """
    words = (ctypes.c_void_p * _HEAD_WORDS)()
    descriptor = os.memfd_create("haloy-words", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, type(words).from_address(address))
        os.preadv(descriptor, [words], 0)
    except OSError:
        return ()
    finally:
        os.close(descriptor)
    return tuple(one or 0 for one in words)
