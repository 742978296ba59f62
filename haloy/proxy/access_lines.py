"""Visits as lines of text: JSON, or what log analysers know as combined.

Written by hand, as it is done for each request. Most of a line is the same for all
visits of a kind and made once: quoted, where a client or a person chose it, and
redacted. What differs is put in between.
"""

from __future__ import annotations

from collections.abc import Collection
from json.encoder import encode_basestring_ascii as quote
from typing import Final

from haloy.proxy.access_log import Kind, Visit, network_of, without_query

# A constant, as this is the way that is fast compiled, too.
_SECONDS: Final = "%.6f"

#: How each form writes the present second (C{datetime.strftime}, in UTC).
JSON_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
COMBINED_TIME: Final = "%d/%b/%Y:%H:%M:%S +0000"


def seconds(duration_s: float) -> str:
    """Return C{duration_s} with six digits behind the point.

    Most are below a second: they are written as a whole number of microseconds, which
    costs a third.
    """
    if 0.0 <= duration_s < 0.999999:
        return "0." + str(1000000 + int(duration_s * 1e6 + 0.5))[1:]
    return _SECONDS % duration_s


class Lines:
    """One form of line.

    @param redact: what is left out (L{haloy.proxy.access_log.redacted}).
    """

    __slots__ = ("_no_query", "_redact")

    def __init__(self, redact: Collection[str] = ()) -> None:
        self._redact = redact
        self._no_query = "query" in redact

    def text(self, visits: list[Visit], time: str) -> str:
        """Return a line for each; C{time}: when they were over."""
        raise NotImplementedError

    def _shown(self, kind: Kind) -> tuple[str, str]:
        """Return the client and the user agent as they may be written."""
        return (
            network_of(kind.client) if "client" in self._redact else kind.client,
            "" if "user_agent" in self._redact else kind.user_agent,
        )


class JsonLines(Lines):
    """One JSON object a line, with the fields of a record in their order."""

    __slots__ = ()

    def text(self, visits: list[Visit], time: str) -> str:
        """Return a line for each of C{visits}."""
        begin = f'{{"time":"{time}","request_id":"'
        lines = []
        # Those that are repeated are repeated as the same object.
        shown_of, shown = "", '""'
        for visit in visits:
            kind, request_id, target, bytes_out, head_s, total_s, traceparent = visit
            pieces = kind.pieces
            if pieces is None or pieces[0] is not self:
                pieces = self._prepare(kind)
            _, before, middle, after = pieces
            if target is not shown_of:
                shown_of = target
                shown = quote(without_query(target) if self._no_query else target)
            total = seconds(total_s)
            head = total if head_s == total_s else seconds(head_s)
            # Ids and traces that need quoting are not taken from a client.
            lines.append(
                f"{begin}{request_id}{before}{shown}{middle}{bytes_out}"
                f',"head_s":{head},"total_s":{total}{after}{traceparent}"}}\n'
            )
        return "".join(lines)

    def _prepare(self, kind: Kind) -> tuple[object, str, str, str]:
        """Make what stands before the target, after it, and before the trace."""
        client, agent = self._shown(kind)
        pieces = kind.pieces = (
            self,
            f'","client":"{client}","method":{quote(kind.method)},'
            f'"host":{quote(kind.host)},"target":',
            f',"protocol":"{kind.protocol}",'
            f'"secure":{"true" if kind.secure else "false"},'
            f'"status":{kind.status},"outcome":"{kind.outcome}",'
            f'"app":{quote(kind.app)},"upstream":{quote(kind.upstream)},'
            f'"bytes_in":{kind.bytes_in},"bytes_out":',
            f',"user_agent":{quote(agent)},"tls":"{kind.tls}","traceparent":"',
        )
        return pieces


class CombinedLines(Lines):
    """The line of Apache and nginx. There is no user name, and no referrer is kept."""

    __slots__ = ()

    def text(self, visits: list[Visit], time: str) -> str:
        """Return a line for each of C{visits}."""
        no_query = self._no_query
        lines = []
        for kind, _, target, bytes_out, _, _, _ in visits:
            pieces = kind.pieces
            if pieces is None or pieces[0] is not self:
                pieces = self._prepare(kind)
            _, before, middle, after = pieces
            request = "-"
            if kind.method:
                shown = without_query(target) if no_query else target
                request = f"{kind.method} {shown} {kind.protocol}"
            lines.append(
                f"{before}{time}] {quote(request)}{middle}{bytes_out}{after}\n"
            )
        return "".join(lines)

    def _prepare(self, kind: Kind) -> tuple[object, str, str, str]:
        """Make what stands before the time, before the size, and after it."""
        client, agent = self._shown(kind)
        pieces = kind.pieces = (
            self,
            f"{client} - - [",
            f" {kind.status} ",
            f' "-" {quote(agent or "-")}',
        )
        return pieces


def lines_of(form: str, redact: Collection[str] = ()) -> tuple[Lines, str]:
    """Return how C{form}, C{json} or C{combined}, is written, and how its time is."""
    if form == "json":
        return JsonLines(redact), JSON_TIME
    return CombinedLines(redact), COMBINED_TIME
