"""The messages between haloyd, the supervisor of a proxy, and its workers.

A frame is a 32 bit length and one JSON array: how it is meant, a number that ties an
answer to its question, and a message. Where the message names routes, each is a line
behind it: who only passes them on reads none. Tables and certificates travel as
differences, in parts of a bounded size, so that a large one never holds up requests for
long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice, repeat
from typing import Any, Final

from attrs import evolve, field, frozen

from haloy.model.certificate import Certificate, Challenge, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.access_log import AccessRecord
from haloy.proxy.control.values import decode, encode
from haloy.proxy.interface import (
    AccessSettings,
    DrainLimits,
    Leftover,
    ProxyStats,
    UpstreamFailure,
)

#: What this release speaks. A change that the other side would not understand
#: counts it up; the two are compared before anything else is said.
PROTOCOL: Final = 4

#: The longest frame that is taken; the longest that is sent is far below.
FRAME_LIMIT_BYTES: Final = 16 << 20


class Meaning(Enum):
    """How a frame is meant."""

    QUESTION = "?"
    ANSWER = "="
    REFUSAL = "!"
    NEWS = "."


# --- what is said --------------------------------------------------------------------


@frozen
class Hello:
    """The first message of haloyd, and the first one of a worker.

    C{release} is C{""} of a worker: it is the one that is installed.
    """

    protocol: int
    release: str


@frozen
class Welcome:
    """The answer to it."""

    protocol: int
    release: str
    workers: int = 0


@frozen
class Done:
    """The answer when there is nothing else to say: every worker has done it."""


@frozen
class Refused:
    """The answer when it was not done, with a sentence that says why."""

    reason: str


@frozen
class Configure:
    """Settings of C{haloyd.yaml} that the data path needs; workers start with them."""

    settings: Mapping[str, Any]


@frozen
class TablePart:
    """A part of the way from one table to the next.

    With C{last} the table is complete: this question is answered when all workers
    serve it, or refused for any of the parts. Those before may be news.
    C{base}: the generation that the parts start from, -1: from nothing. Routes that
    come are texts (L{haloy.proxy.control.route_text}), a line for each.
    """

    generation: int
    base: int = -1
    exact: Mapping[str, bytes] = field(factory=dict)
    wildcard: Mapping[str, bytes] = field(factory=dict)
    gone_exact: tuple[str, ...] = ()
    gone_wildcard: tuple[str, ...] = ()
    last: bool = False


@frozen
class CertificatesPart:
    """A part of the way from one set of certificates to the next."""

    whole: bool = False
    put: tuple[Certificate, ...] = ()
    gone: tuple[DomainName, ...] = ()
    last: bool = False


@frozen
class Present:
    """See L{haloy.proxy.interface.Proxy.present}."""

    challenge: Challenge


@frozen
class Withdraw:
    """See L{haloy.proxy.interface.Proxy.withdraw}."""

    challenge: Challenge


@frozen
class Drain:
    """See L{haloy.proxy.interface.Proxy.drain}."""

    key: str
    limits: DrainLimits


@frozen
class Drained:
    """How a drain ended: what still ran, in all workers."""

    left: Leftover


@frozen
class Park:
    """See L{haloy.proxy.interface.Proxy.park}."""

    app: AppName
    limit_s: float


@frozen
class Unpark:
    """See L{haloy.proxy.interface.Proxy.unpark}."""

    app: AppName


@frozen
class Follow:
    """Whether somebody reads requests as they happen: only then are they sent."""

    access_log: bool


@frozen
class AccessLog:
    """How and where workers write requests; without C{settings} they do not.

    C{descriptor}: of the file, opened to append, in the process that holds the
    message; a link passes the file on and puts the receiver's in its place. It is
    open until the question is answered: who keeps it, duplicates it.
    """

    settings: AccessSettings | None = None
    descriptor: int = -1


@frozen
class Traffic:
    """See L{haloy.proxy.interface.Proxy.traffic}."""


@frozen
class Counted:
    """The answer to it: what each worker has counted, as C{proxy.metrics} tells it."""

    workers: tuple[Mapping[str, Any], ...]


@frozen
class Reading:
    """News: the counts have changed."""

    stats: ProxyStats


@frozen
class Failure:
    """News: a passive signal."""

    failure: UpstreamFailure


@frozen
class Records:
    """News: requests that are over; C{dropped} more were too many to be told."""

    records: tuple[AccessRecord, ...]
    dropped: int = 0


@frozen
class Tickets:
    """To a worker: the keys of session tickets, the same for all (C{proxy.tickets})."""

    keys: Secret


@frozen
class Serve:
    """To a worker: accept connections from now on."""


@frozen
class Retire:
    """To a worker: accept no more, let what is open come to its end, then leave.

    Tunnels and answers get C{limit_s}.
    """

    limit_s: float


@frozen
class Leave:
    """To a worker: end soon; answers under way get the time of its settings."""


Message = (
    Hello
    | Welcome
    | Done
    | Refused
    | Configure
    | TablePart
    | CertificatesPart
    | Present
    | Withdraw
    | Drain
    | Drained
    | Park
    | Unpark
    | Follow
    | AccessLog
    | Traffic
    | Counted
    | Reading
    | Failure
    | Records
    | Tickets
    | Serve
    | Retire
    | Leave
)


@frozen
class Packed:
    """A message as it stands in a frame: made once, for several links.

    C{lines}: what follows the frame's first line. C{descriptor}: of the file that goes
    with it, -1: none.
    """

    content: bytes
    lines: bytes = b""
    descriptor: int = -1


def packed(message: Message) -> Packed:
    """Return C{message} as it stands in a frame."""
    lines = b""
    if isinstance(message, TablePart):
        texts = (*message.exact.values(), *message.wildcard.values())
        lines = b"".join([b"\n" + text for text in texts])
        message = _filled(message, repeat(b""))
    content = json.dumps(encode(message), separators=(",", ":")).encode("ascii")
    return Packed(content, lines, descriptor_of(message))


def _filled(part: TablePart, texts: Iterable[bytes]) -> TablePart:
    """Return C{part} with these texts of its routes. @raise ValueError: too few."""
    rest = iter(texts)
    kinds = [
        dict(zip(names, islice(rest, len(names)), strict=True))
        for names in (part.exact, part.wildcard)
    ]
    return evolve(part, exact=kinds[0], wildcard=kinds[1])


def descriptor_of(message: Message | Packed) -> int:
    """Return the descriptor of the file that goes with C{message}, -1: none does."""
    return message.descriptor if isinstance(message, (AccessLog, Packed)) else -1


def pack(meaning: Meaning, number: int, message: Message | Packed) -> bytes:
    """Return a frame without its length."""
    inner = message if isinstance(message, Packed) else packed(message)
    kind = meaning.value.encode("ascii")
    return b'["%b",%d,%b]%b' % (kind, number, inner.content, inner.lines)


def as_came(frame: bytes) -> Packed:
    """Return the message of a frame, that C{unpack} has taken, to be sent on.

    Without the file that may have come with it.
    """
    first, end, lines = frame.partition(b"\n")
    # How it is meant and its number have no comma in them.
    _, _, message = first.split(b",", 2)
    return Packed(message.rstrip()[:-1], end + lines)


def unpack(frame: bytes) -> tuple[Meaning, int, Message]:
    """Return what a frame says. @raise ValueError: it is none of ours."""
    first, *lines = frame.split(b"\n")
    try:
        found = json.loads(first)
    except RecursionError:
        raise ValueError("a frame that is nested without end") from None
    if not isinstance(found, list) or len(found) != 3 or type(found[1]) is not int:
        raise ValueError("a frame that is no message")
    message: Message = decode(Message, found[2])
    wanted = 0
    if isinstance(message, TablePart):
        wanted = len(message.exact) + len(message.wildcard)
        if wanted == len(lines):
            message = _filled(message, lines)
    if wanted != len(lines):
        raise ValueError(f"{len(lines)} lines where {wanted} are wanted")
    return Meaning(found[0]), found[1], message
