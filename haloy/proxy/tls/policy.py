"""What every TLS context of the proxy has in common: versions, ciphers, groups.

The yardstick is Mozilla's "intermediate" and no finding above LOW by testssl.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import os
import ssl

from twisted.logger import Logger

from haloy.errors import CertificateError
from haloy.model.certificate import Certificate

#: TLS 1.2 with forward secrecy and AEAD only; TLS 1.3 suites are OpenSSL's (P18).
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
#: Of TLS 1.3. OpenSSL's own list begins with AES-256 and SHA-384, which costs more.
SUITES = ":".join(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    )
)
GROUPS = "X25519:P-256:P-384"
PROTOCOLS = ("http/1.1",)

#: config(5ssl): C{system_default} holds for every context made after it is loaded.
_CONFIGURATION = f"""\
haloy = modules
[modules]
ssl_conf = applications
[applications]
system_default = policy
[policy]
MinProtocol = TLSv1.2
Groups = {GROUPS}
Ciphersuites = {SUITES}
"""

_log = Logger()


def offered(*, http2: bool) -> tuple[str, ...]:
    """Return the protocols that clients may choose from, the best one first."""
    return ("h2", *PROTOCOLS) if http2 else PROTOCOLS


def server_context(
    protocols: tuple[str, ...] = PROTOCOLS,
    kind: type[ssl.SSLContext] = ssl.SSLContext,
) -> ssl.SSLContext:
    """Return a context with our policy and no certificate yet.

    TLS 1.2 and 1.3, no compression, no renegotiation, tickets on.

    @param kind: the class to make.
    """
    limit_groups()
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Where a message ends HTTP says. OpenSSL would answer an end without close_notify
    # with a fatal alert, after which a client that only half-closes gets no answer.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_alpn_protocols(list(protocols))
    # OpenSSL would seal and write two after a full handshake; a ticket may be used
    # by several connections, and each of them is given another.
    context.num_tickets = 1
    return context


def context_of(
    certificate: Certificate, protocols: tuple[str, ...] = PROTOCOLS
) -> ssl.SSLContext:
    """Return the context that serves C{certificate}.

    @raise CertificateError: key and chain do not load or do not belong together.
    """
    context = server_context(protocols)
    # The ssl module loads from files only. Linux keeps this one in memory.
    descriptor = _memory_file(certificate.key.value + b"\n" + certificate.chain)
    try:
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as problem:
        raise CertificateError(
            f"the certificate for {certificate.name} cannot be used: {problem}",
            domain=certificate.name,
        ) from problem
    finally:
        os.close(descriptor)
    return context


@functools.cache
def limit_groups() -> bool:
    """Let contexts of this process use X25519, P-256 and P-384 only; once.

    The C{ssl} module of Python 3.11 can name one group or leave OpenSSL's list,
    which has X448 and P-521 too. So OpenSSL reads a configuration of ours, by its
    public C{CONF_modules_load_file}; it holds for every context that the standard
    library makes in this process from then on, outgoing ones included.

    @return: whether that worked. An interpreter with a hidden OpenSSL (linked
        statically) keeps OpenSSL's list; that is logged.
    """
    descriptor = _memory_file(_CONFIGURATION.encode())
    try:
        # The extension module itself: its OpenSSL, whatever else is loaded.
        load = ctypes.CDLL(_ssl.__file__).CONF_modules_load_file
        load.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong)
        load.restype = ctypes.c_int
        done = bool(load(f"/proc/self/fd/{descriptor}".encode(), b"haloy", 0) == 1)
    except (AttributeError, OSError):
        done = False
    finally:
        os.close(descriptor)
    if not done:
        _log.info(
            "TLS groups are those of OpenSSL: {groups} cannot be set", groups=GROUPS
        )
    return done


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("haloy-tls", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
