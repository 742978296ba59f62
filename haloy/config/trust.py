"""What to trust a server by: a file of certificates that somebody named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import crypto
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from haloy.errors import ConfigError


@implementer(IPolicyForHTTPS)
class OneAuthority:
    """Trusts the certificates of one file and no others."""

    def __init__(self, root: Any) -> None:
        """Keep what is trusted."""
        self._root = root

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:  # noqa: N802  (Twisted)
        """Return the TLS options for one connection."""
        return optionsForClientTLS(hostname.decode("ascii"), trustRoot=self._root)


def trusting(path: str) -> OneAuthority:
    """Return the policy that trusts the PEM certificates in C{path}.

    @raise ConfigError: there are none.
    """
    end = b"-----END CERTIFICATE-----"
    try:
        blocks = Path(path).read_bytes().split(end)[:-1]
        found = [
            Certificate.loadPEM(block.strip() + b"\n" + end + b"\n") for block in blocks
        ]
    except (OSError, ValueError, crypto.Error) as problem:
        raise ConfigError(f"cannot be used: {problem}", path=path) from problem
    if not found:
        raise ConfigError("holds no certificate", path=path)
    return OneAuthority(trustRootFromCertificates(found))
