"""Follows a deployment to its end: lines, or a live display in a terminal."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import click
from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred

from haloy.cli.numbers import Seconds
from haloy.cli.output import Output, show_entry
from haloy.errors import DeployFailed

#: How long a deployment may take; the daemon's own limits are below it.
DEPLOY_LIMIT_S = 1800.0


def deploy_limit_option(what: str) -> Callable[[Any], Any]:
    """Add C{--deploy-timeout}: how long L{follow} waits for C{what} to end."""
    return click.option(
        "--deploy-timeout",
        "deploy_limit_s",
        type=Seconds(1, 86400),
        default=DEPLOY_LIMIT_S,
        show_default=True,
        help=f"Seconds to wait for {what} to end.",
    )


async def follow(
    reactor: Any,
    client: Any,
    deployment: str,
    limit_s: float,
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Show a deployment's log to its end.

    Ctrl+C leaves it alone, and that is told.

    @raise DeployFailed: it failed, or has not ended within C{limit_s}.
    """
    watching = Deferred.fromCoroutine(_watch(client.deployment_log(deployment), show))
    watching.addTimeout(limit_s, reactor)
    try:
        await watching
    except defer.TimeoutError:
        raise DeployFailed(
            f"{deployment} has not ended after {limit_s:g} s and continues on the "
            "server; `haloy status` shows its state",
            failure="timeout",
        ) from None
    except defer.CancelledError:
        Output().warn(
            f"{deployment} continues on the server; `haloy status` shows its state"
        )
        raise


async def _watch(
    entries: AsyncIterator[dict[str, Any]], show: Callable[[dict[str, Any]], None]
) -> None:
    async for entry in entries:
        show(entry)
        if entry.get("isDeploymentFailed"):
            fields = entry.get("fields") or {}
            raise DeployFailed(
                str(fields.get("error") or entry.get("message")),
                failure=str(fields.get("code") or "failed"),
            )
        if entry.get("isDeploymentComplete"):
            return


@define(eq=False)
class Board:
    """What is under way, one line for each; log lines scroll above it.

    Without a terminal there are only the lines.
    """

    _output: Output
    _several: bool = False
    _live: Any = field(default=None, init=False)
    _now: dict[str, tuple[str, float, str]] = field(factory=dict, init=False)
    _turning: Any = field(default=None, init=False)

    def __enter__(self) -> Board:
        """Begin to show."""
        if self._output.is_live:
            from rich.live import Live  # noqa: PLC0415  (only terminals pay)

            self._live = Live(
                get_renderable=self._drawn, refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave only the lines."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def begin(self, name: str, what: str) -> None:
        """Something begins; it is under way until L{end}."""
        self._now[name] = (what, time.monotonic(), "")

    def entry(self, name: str, entry: dict[str, Any]) -> None:
        """Show a line of the server's log for C{name}."""
        if name in self._now:
            what, began, _ = self._now[name]
            self._now[name] = (what, began, str(entry.get("message") or ""))
        show_entry(self._output, entry, name if self._several else "")

    def end(self, name: str) -> None:
        """Show no more what C{name} was about: it has ended, well or not."""
        self._now.pop(name, None)

    def pause(self) -> None:
        """Leave the terminal to another program until L{resume}."""
        if self._live is not None:
            self._live.stop()

    def resume(self) -> None:
        """Show again."""
        if self._live is not None:
            self._live.start()

    def _drawn(self) -> Any:
        from rich.spinner import Spinner  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        # One for all: a new one each time would always show its first picture.
        self._turning = self._turning or Spinner("dots")
        grid = Table.grid(padding=(0, 1))
        for name, (what, began, last) in list(self._now.items()):
            took = f"{time.monotonic() - began:.0f} s"
            text = Text.assemble((name, "bold"), f" {what}  {last}", no_wrap=True)
            text.overflow = "ellipsis"
            grid.add_row(self._turning, Text(took, "dim", no_wrap=True), text)
        return grid
