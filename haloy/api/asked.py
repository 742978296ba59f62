"""What a request's query and headers say, and which containers it means. Pure."""

from __future__ import annotations

from typing import Any

from haloy.errors import InvalidValue, NotFound
from haloy.model.names import parse_app_name

DEFAULT_TAIL = 100


def argument(request: Any, name: str) -> str:
    """Return a text of the query, C{""} when it is not there."""
    values = request.args.get(name.encode()) or [b""]
    return str(values[0].decode(errors="replace"))


def flag(request: Any, name: str) -> bool:
    """Return whether the query says C{true}."""
    return argument(request, name) == "true"


def tail(request: Any) -> int:
    """Return how many past lines are wanted; 0, unlike in Go's haloyd: new ones alone.

    What is no count is as if it were not given (C{spec/api.md} 4.14).
    """
    found = _whole(argument(request, "tail"))
    return DEFAULT_TAIL if found is None else found


def count(request: Any, name: str) -> int:
    """Return a count of the query, 0 when it is not there.

    @raise InvalidValue: it is none; what the Go daemon has too is read by L{tail}.
    """
    text = argument(request, name)
    found = _whole(text or "0")
    if found is None:
        raise InvalidValue("must be a whole number from 0 on", field=name)
    return found


def since(request: Any) -> float:
    """Return the time from which on lines are wanted, 0 for all.

    @raise InvalidValue: it is no time (seconds of the epoch).
    """
    text = argument(request, "since")
    if not text:
        return 0.0
    whole, _, part = text.partition(".")
    digits = whole.isascii() and whole.isdigit() and len(whole) < 12
    if not digits or (part and not (part.isascii() and part.isdigit())):
        raise InvalidValue("must be seconds of the epoch", field="since")
    return float(text)


def app_filter(request: Any) -> str:
    """Return the app that the query asks for, C{""} for all.

    @raise InvalidValue: no app can have that name.
    """
    text = argument(request, "app")
    return parse_app_name(text, "app") if text else ""


def last_event_id(request: Any) -> int | None:
    """Return the number of the last event that a client has seen, if it says one.

    @raise InvalidValue: it is none that we have given: who asks would miss events.
    """
    text = request.getHeader("Last-Event-ID") or ""
    if not text:
        return None
    found = _whole(text)
    if found is None:
        raise InvalidValue("must be the number of an event", field="Last-Event-ID")
    return found


def _whole(text: str) -> int | None:
    """Return the whole number from 0 on that C{text} is, C{None}: it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def choose_containers(running: list[str], wanted: str, everything: bool) -> list[str]:
    """Return which containers are meant; by default the first.

    @raise InvalidValue: two selectors, or a container that is not this app's.
    @raise NotFound: none runs.
    """
    if wanted and everything:
        raise InvalidValue(
            "give containerId or allContainers, not both", field="containerId"
        )
    if not running:
        raise NotFound("no container of this app runs")
    if wanted:
        chosen = [one for one in running if one.startswith(wanted)]
        if not chosen:
            raise InvalidValue(
                f"no running container of this app begins with {wanted!r}",
                field="containerId",
            )
        return chosen[:1]
    return running if everything else running[:1]
