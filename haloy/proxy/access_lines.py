"""Access records as lines of text: JSON, or what log analysers know as combined.

Written by hand, as it is done for each request. Only what a client or a person chose
needs quoting, and most of that is the same in many records (the app, the host, the
user agent): the pieces of a line that repeat are quoted once and looked up after
that. The memory for it is bounded and is lost when it is full.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quote
from typing import Final, Protocol

from haloy.proxy.access_log import AccessRecord

PIECES_LIMIT: Final = 512

# A constant, as this is the way that is fast compiled, too.
_SECONDS: Final = "%.6f"

#: How each form writes the present second (C{datetime.strftime}, in UTC).
JSON_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
COMBINED_TIME: Final = "%d/%b/%Y:%H:%M:%S +0000"


class Lines(Protocol):
    """What both forms answer to."""

    def line(self, record: AccessRecord, time: str) -> str:
        """Return C{record} as one line without its end; C{time}: when it was over."""


class JsonLines:
    """One JSON object a line, with the fields of a record in their order."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: dict[tuple[str | bool | int, ...], tuple[str, str, str]] = {}

    def line(self, record: AccessRecord, time: str) -> str:
        """Return C{record}."""
        (
            request_id,
            client,
            method,
            host,
            target,
            protocol,
            secure,
            status,
            outcome,
            app,
            upstream,
            bytes_in,
            bytes_out,
            head_s,
            total_s,
            user_agent,
            tls,
            traceparent,
        ) = record
        key = (
            client,
            method,
            host,
            protocol,
            secure,
            status,
            outcome,
            app,
            upstream,
            user_agent,
            tls,
        )
        pieces = self._pieces.get(key)
        if pieces is None:
            pieces = self._quoted(record, key)
        before, middle, after = pieces
        total = _SECONDS % total_s
        head = total if head_s == total_s else _SECONDS % head_s
        return (
            f'{{"time":"{time}","request_id":{quote(request_id)}'
            f"{before}{quote(target)}"
            f'{middle}{bytes_in},"bytes_out":{bytes_out},"head_s":{head},'
            f'"total_s":{total}{after}{traceparent}"}}'
        )

    def _quoted(
        self, record: AccessRecord, key: tuple[str | bool | int, ...]
    ) -> tuple[str, str, str]:
        """Return what stands before the target, after it, and before the trace."""
        if len(self._pieces) >= PIECES_LIMIT:
            self._pieces.clear()
        pieces = self._pieces[key] = (
            f',"client":"{record.client}","method":{quote(record.method)},'
            f'"host":{quote(record.host)},"target":',
            f',"protocol":"{record.protocol}",'
            f'"secure":{"true" if record.secure else "false"},'
            f'"status":{record.status},"outcome":"{record.outcome}",'
            f'"app":{quote(record.app)},"upstream":{quote(record.upstream)},'
            f'"bytes_in":',
            f',"user_agent":{quote(record.user_agent)},"tls":"{record.tls}",'
            f'"traceparent":"',
        )
        return pieces


class CombinedLines:
    """The line of Apache and nginx. There is no user name, and no referrer is kept."""

    __slots__ = ("_agents",)

    def __init__(self) -> None:
        self._agents: dict[str, str] = {}

    def line(self, record: AccessRecord, time: str) -> str:
        """Return C{record}."""
        agent = self._agents.get(record.user_agent)
        if agent is None:
            if len(self._agents) >= PIECES_LIMIT:
                self._agents.clear()
            agent = quote(record.user_agent or "-")
            self._agents[record.user_agent] = agent
        request = "-"
        if record.method:
            request = f"{record.method} {record.target} {record.protocol}"
        return (
            f"{record.client} - - [{time}] {quote(request)} "
            f'{record.status} {record.bytes_out} "-" {agent}'
        )


def lines_of(form: str) -> tuple[Lines, str]:
    """Return how C{form}, C{json} or C{combined}, is written, and how its time is."""
    if form == "json":
        return JsonLines(), JSON_TIME
    return CombinedLines(), COMBINED_TIME
