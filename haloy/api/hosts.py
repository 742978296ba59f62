"""By which names the API may be asked for on its TCP port. Pure.

A page in somebody's browser can have its own name lead to 127.0.0.1 and then talk to
what listens there (DNS rebinding); the browser still says the page's name. An address
cannot be made to lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

from haloy.errors import InvalidValue, Misdirected

_LOCAL = "localhost"


def check_host(values: Sequence[bytes], served: Collection[str]) -> None:
    """Accept the C{Host} fields of a request, or say what is wrong with them.

    @param served: names besides loopback's, in lower case.
    @raise InvalidValue: there is not exactly one (RFC 9112 section 3.2).
    @raise Misdirected: it is a name that is not served.
    """
    if len(values) != 1:
        raise InvalidValue("is wanted exactly once", field="Host")
    name = _name(values[0].decode("latin-1").strip().lower())
    if name in served or name == _LOCAL or name.endswith(f".{_LOCAL}"):
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Misdirected(
            "the API does not answer to this host name; use localhost, an address, or "
            "what haloyd.yaml has under api: domain:"
        ) from None


def _name(host: str) -> str:
    """Return the name in a C{Host} field, without port, brackets and last dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
