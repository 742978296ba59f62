"""The paths of routes, as a client asks for them. Pure."""

from __future__ import annotations

from urllib.parse import quote

from haloy.errors import InvalidValue


def route(*parts: str) -> str:
    """Return the path of a route; what people name is quoted.

    @raise InvalidValue: a name is empty: that would be another route.
    """
    if not all(parts):
        raise InvalidValue("a name is empty", field=parts[0])
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)
