"""The paths of routes and the URLs of servers, as a client asks for them. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from haloy.errors import InvalidValue
from haloy.model.names import ascii_name


def route(*parts: str) -> str:
    """Return the path of a route; what people name is quoted.

    @raise InvalidValue: a name is empty: that would be another route.
    """
    if not all(parts):
        raise InvalidValue("a name is empty", field=parts[0])
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def wire_url(base_url: str) -> bytes:
    """Return the URL of a server in ASCII, its name as IDNA has it (RFC 5891).

    @raise InvalidValue: it cannot be the name of a server.
    """
    if base_url.isascii():
        return base_url.lower().encode()
    parts = urlsplit(base_url)
    try:
        name = ascii_name(parts.hostname or "")
    except ValueError as problem:
        raise InvalidValue(
            f"{base_url} is not a server: {problem}", field="server"
        ) from problem
    place = name if parts.port is None else f"{name}:{parts.port}"
    return f"{parts.scheme}://{place}".encode()
