"""What happens on the server, as a stream that can be taken up again.

Events are rows: a reader reads them at its pace, costs no memory while it waits, and
one that comes back with C{Last-Event-ID} gets what it has missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from haloy.api import schema
from haloy.api.answers import error_answer
from haloy.api.asked import app_filter, last_event_id
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.sse import event
from haloy.api.streaming import EventWriter, Streams, announce
from haloy.model.event import Event
from haloy.store.database import Database
from haloy.store.events import BATCH, add_event, events_after, kept_events

#: Deployments write their events by themselves: this often they are looked for.
LOOK_S = 0.5


@define(eq=False)
class EventFeed:
    """Writes events, and gives them to those who follow."""

    _database: Database
    _reactor: Any
    _now: Callable[[], datetime]
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    async def tell(
        self, kind: str, app: str, subject: str, state: str, reason: str = ""
    ) -> None:
        """Write down what has happened just now."""
        told = Event(kind, app, subject, state, reason, self._now())
        await self._database.run(add_event, told)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def follow(
        self, after: int | None, consume: Callable[[Event], Awaitable[None]]
    ) -> None:
        """Give the events behind number C{after} to C{consume}, for ever.

        @param after: C{None}: only what happens from now on. A number that is not
            kept any more begins with an event of kind C{gap}.
        """
        oldest, newest = await self._database.run(kept_events)
        if after is None:
            after = newest
        elif after > newest or after < oldest - 1:
            await consume(self._gap(after))
            after = oldest - 1
        while True:
            more: Deferred[None] = Deferred()
            self._waiting.append(more)
            more.addTimeout(LOOK_S, self._reactor)
            try:
                found = await self._database.run(events_after, after)
                for one in found:
                    after = one.seq
                    await consume(one)
                if len(found) < BATCH:
                    await more
            except defer.TimeoutError:
                pass
            finally:
                self._forget(more)

    def _forget(self, more: Deferred[None]) -> None:
        if more in self._waiting:
            self._waiting.remove(more)
        more.addErrback(lambda _: None)
        more.cancel()

    def _gap(self, after: int) -> Event:
        reason = f"what followed number {after} is not kept any more"
        return Event("gap", "", "", "", reason, self._now())


@define(eq=False)
class EventRoutes:
    """Mounted by the API at C{/v1/events}."""

    app = Klein()

    _feed: EventFeed
    _streams: Streams
    _gatekeeper: Gatekeeper

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def follow(self, request: IRequest) -> None:
        """Stream what happens to the apps that the token may see."""
        announce(request)
        caller = self._gatekeeper.authenticate(request)
        wanted, after = app_filter(request), last_event_id(request)
        caller.require("read", wanted or next(iter(caller.apps), None))

        async def produce(writer: EventWriter) -> None:
            async def consume(one: Event) -> None:
                if one.kind != "gap":
                    if wanted and one.app != wanted:
                        return
                    if not caller.may("read", one.app or None):
                        return
                await writer.send(event(schema.event(one), one.seq or None))

            await self._feed.follow(after, consume)

        await self._streams.send(request, caller, produce)

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)
