"""C{haloy logs}."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from haloy.cli.ages import parse_since
from haloy.cli.context import Project, Selected, choose, client_for, failed_of
from haloy.cli.exits import exit_code_of_several
from haloy.cli.numbers import Whole
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.cli.streams import while_read
from haloy.cli.successors import Run, runs_of, successors
from haloy.errors import HaloyError, InvalidValue
from haloy.tasks import gathered

#: One for each replica, in the order in which they come up.
COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red")

#: Of a container that has just begun all lines are wanted.
MUCH = 100_000


@frozen
class Wanted:
    """Which lines are wanted."""

    tail: int
    since_s: float
    container: str
    every_container: bool
    follow: bool


@click.command("logs")
@app_options
@click.option(
    "--tail",
    type=Whole(0),
    default=100,
    show_default=True,
    help="Number of past lines.",
)
@click.option("--since", default="", metavar="TIME", help="As 15m, or an ISO time.")
@click.option("--grep", default="", metavar="REGEX", help="Only lines that match.")
@click.option("-i", "--ignore-case", is_flag=True, help="With --grep: ignore case.")
@click.option("--container", default="", help="Only this one: its id or the beginning.")
@click.option("--all-containers", is_flag=True, help="Show all replicas.")
@click.option(
    "-f",
    "--follow/--no-follow",
    default=True,
    help="Follow, as without it; or print what there is, then end.",
)
@click.option("--raw", is_flag=True, help="Print only the lines, for scripts.")
@output_options
def logs_(
    selection: Selection,
    tail: int,
    since: str,
    grep: str,
    ignore_case: bool,
    container: str,
    all_containers: bool,
    follow: bool,
    raw: bool,
    output: Output,
) -> None:
    """Show the output of the app's containers.

    It is followed until Ctrl+C, on to the containers of the next deployment. With
    --json each line is a JSON object of its own.
    """
    if container and all_containers:
        raise click.UsageError("give --container or --all-containers, not both")
    matches = _matcher(grep, ignore_case)
    wanted = Wanted(tail, _since(since), container, all_containers, follow)
    project, chosen = choose(selection)
    shown = _Lines(output, matches, raw, all_containers, len(chosen) > 1)

    async def show(reactor: Any) -> list[HaloyError]:
        if wanted.follow and not raw and not output.as_json:
            output.info("Streaming logs; press Ctrl+C to stop")
        reading = together(
            _read(reactor, project, one, selection.limit_s, wanted, shown)
            for one in chosen
        )
        answers = await while_read(reactor, reading)
        for one, found in zip(chosen, answers, strict=True):
            if isinstance(found, HaloyError):
                output.problem(found, one.name if len(chosen) > 1 else "")
        return failed_of(answers)

    raise SystemExit(exit_code_of_several(run(show), len(chosen)))


def _since(text: str) -> float:
    """Return C{--since} in seconds since the epoch, 0: not given."""
    try:
        return parse_since(text, datetime.now(UTC)).timestamp() if text else 0.0
    except InvalidValue as problem:
        raise click.UsageError(str(problem)) from None


def _matcher(grep: str, ignore_case: bool) -> Callable[[str], bool]:
    if not grep:
        return lambda _: True
    try:
        pattern = re.compile(grep, re.IGNORECASE if ignore_case else 0)
    except re.error as problem:
        raise click.UsageError(f"--grep {grep!r} is no expression: {problem}") from None
    return lambda text: pattern.search(text) is not None


async def _read(
    reactor: Any,
    project: Project,
    one: Selected,
    limit_s: float,
    wanted: Wanted,
    shown: _Lines,
) -> None:
    client = client_for(reactor, project, one, limit_s)
    goes_on = wanted.follow and not wanted.container
    known = runs_of(await client.status(one.app)) if goes_on else frozenset()
    if not known:
        await _stream(client, one, wanted, shown)
        return
    following = _Following(reactor, client, one, shown, wanted.every_container, known)
    if wanted.every_container:
        alone = evolve(wanted, every_container=False)
        await following.follow(
            [evolve(alone, container=run.container) for run in known]
        )
    else:
        await following.follow([wanted])


@define(eq=False)
class _Following:
    """Follows what runs, each by itself, and then what runs in its place.

    @ivar _known: what is followed, or was.
    """

    _reactor: Any
    _client: Any
    _one: Selected
    _shown: _Lines
    _every_container: bool
    _known: frozenset[Run]
    _open: int = field(default=0, init=False)

    async def follow(self, streams: list[Wanted]) -> None:
        """Show C{streams} and what comes after them; return when nothing does."""
        self._open += len(streams)
        await gathered([Deferred.fromCoroutine(self._go(one)) for one in streams])

    async def _go(self, wanted: Wanted) -> None:
        await _stream(self._client, self._one, wanted, self._shown)
        self._open -= 1
        self._shown.note(self._one, "a container has ended; waiting for the next one")
        while True:
            app, known = self._one.app, self._known
            found = await successors(self._reactor, self._client, app, known)
            fresh = found - self._known  # another one that waits may have been first
            if fresh or not found:
                break
        self._known |= fresh
        latest = sorted(fresh, key=lambda run: run.since_s)
        if latest:
            next_ones = latest if self._every_container else latest[-1:]
            await self.follow([_from_its_start(run) for run in next_ones])
        elif not self._open:
            self._shown.note(self._one, "nothing of this app runs any more")


def _from_its_start(run: Run) -> Wanted:
    return Wanted(MUCH, run.since_s, run.container, every_container=False, follow=True)


async def _stream(client: Any, one: Selected, wanted: Wanted, shown: _Lines) -> None:
    """Show lines to the end of what writes them."""
    lines = client.logs(
        one.app,
        wanted.tail,
        wanted.follow,
        wanted.container,
        wanted.every_container,
        wanted.since_s,
    )
    async for entry in lines:
        shown.show(one, entry)


@define(eq=False)
class _Lines:
    """Shows lines, each with where it comes from when there are several."""

    _output: Output
    _matches: Callable[[str], bool]
    _raw: bool
    _every_container: bool
    _several: bool
    _colours: dict[str, str] = field(factory=dict, init=False)

    def show(self, one: Selected, entry: dict[str, Any]) -> None:
        text = str(entry.get("line") or "")
        if not self._matches(text):
            return
        container = str(entry.get("containerId"))
        if self._output.as_json:
            self._output.json_line(
                {"target": one.name, "app": one.app, "containerId": container}
                | {"line": text}
            )
            return
        parts = [one.name] if self._several else []
        parts += [f"[{container[:12]}]"] if self._every_container else []
        prefix = "" if self._raw else " ".join(parts)
        self._output.line(text, prefix, self._colour(f"{one.name} {container}"))

    def note(self, one: Selected, text: str) -> None:
        """Tell what happens to the containers, where no program reads."""
        if not self._raw and not self._output.as_json:
            self._output.note(f"{one.name}: {text}")

    def _colour(self, source: str) -> str:
        return self._colours.setdefault(
            source, COLOURS[len(self._colours) % len(COLOURS)]
        )
