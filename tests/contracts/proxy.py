"""What every form of the proxy does; each form's tests run this with its own maker.

A form is given as C{make}, a function that starts one and returns it with a way to
send requests to it: C{ask(host) -> status} blocks and is called in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as TypingProtocol

from twisted.internet.threads import deferToThread

from haloy.model.app import Domain
from haloy.model.certificate import Challenge, ChallengeKind
from haloy.model.names import AppName, DomainName
from haloy.proxy.form import form as form_of_this
from haloy.proxy.interface import DrainLimits, Leftover, Proxy, UpstreamFailure
from haloy.proxy.metrics import NOBODY
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table


class Form(TypingProtocol):
    """One form of the proxy, running, that serves apps without TLS."""

    proxy: Proxy

    def get(self, host: str, target: str = "/") -> tuple[int, bytes]:
        """Send a request and return status and body of the answer; blocks."""


def app_table(generation: int, *upstreams: Upstream) -> RouteTable:
    table, _ = build_table(
        generation,
        None,
        [
            RoutedApp(
                AppName("app"), (Domain(DomainName("app.example.com")),), upstreams
            )
        ],
    )
    return table


class ProxyContract:
    """Tests of L{Proxy}; subclasses give C{form} and upstreams as fixtures.

    C{form}: a L{Form}. C{upstream}: an upstream that answers C{hello}. C{slow}: an
    upstream and a function that lets its one answer go. C{dead}: an upstream that
    refuses connections.
    """

    async def test_it_serves_by_the_newest_table(
        self, form: Form, upstream: Upstream
    ) -> None:
        """When replace_table returns, the table is in use."""
        host = "app.example.com"
        assert (await deferToThread(form.get, host))[0] == 404
        await form.proxy.replace_table(app_table(1, upstream))
        assert await deferToThread(form.get, host) == (200, b"hello")
        assert form.proxy.stats().generation == 1
        await form.proxy.replace_table(app_table(2))
        assert (await deferToThread(form.get, host))[0] == 503
        await form.proxy.replace_table(RouteTable(3))
        assert (await deferToThread(form.get, host))[0] == 404
        assert form.proxy.stats().generation == 3

    async def test_challenges(self, form: Form) -> None:
        """A challenge is answered from present to withdraw."""
        challenge = Challenge(
            ChallengeKind.HTTP_01, DomainName("x.example"), "token", "token.print"
        )
        path = "/.well-known/acme-challenge/token"
        await form.proxy.present(challenge)
        assert await deferToThread(form.get, "x.example", path) == (200, b"token.print")
        await form.proxy.withdraw(challenge)
        assert (await deferToThread(form.get, "x.example", path))[0] == 404
        await form.proxy.withdraw(challenge)

    async def test_traffic_is_counted(self, form: Form, upstream: Upstream) -> None:
        """By app and replica, with what the client got and how long it took."""
        await form.proxy.replace_table(app_table(1, upstream))
        for _ in range(3):
            assert (await deferToThread(form.get, "app.example.com"))[0] == 200
        assert (await deferToThread(form.get, "unknown.example.com"))[0] == 404
        seen = await form.proxy.traffic()
        counted = seen.counts["app", upstream.key]
        assert (counted.statuses[2], sum(counted.buckets)) == (3, 3)
        assert counted.bytes_out == 3 * len(b"hello")
        assert seen.counts[NOBODY, NOBODY].statuses[4] == 1
        assert [(one.app, one.upstream) for one in seen.upstreams] == [
            ("app", upstream.key)
        ]
        assert seen.workers >= 1

    async def test_it_says_what_it_runs(self, form: Form) -> None:
        """The form of those that serve, how many they are, and nobody who drains."""
        (found,) = await form.proxy.programs()
        assert found.form == form_of_this()
        assert found.workers >= 1
        assert not found.draining

    async def test_drain_of_nothing(self, form: Form) -> None:
        """An upstream that nobody knows is drained."""
        left = await form.proxy.drain("unknown", DrainLimits(5.0, 5.0))
        assert left == Leftover(0, 0)

    async def test_drain_waits_for_requests(
        self, form: Form, slow: tuple[Upstream, Callable[[], None]]
    ) -> None:
        """It ends at its limit with a count, or when the last request has ended."""
        upstream, let_go = slow
        await form.proxy.replace_table(app_table(1, upstream))
        answer = deferToThread(form.get, "app.example.com")
        while not form.proxy.stats().requests_active:
            await deferToThread(lambda: None)
        await form.proxy.replace_table(app_table(2))
        left = await form.proxy.drain(upstream.key, DrainLimits(0.05, 0.05))
        assert left == Leftover(1, 0)
        let_go()
        left = await form.proxy.drain(upstream.key, DrainLimits(5.0, 5.0))
        assert left == Leftover(0, 0)
        assert (await answer)[0] == 200

    async def test_parked_requests_wait(self, form: Form, upstream: Upstream) -> None:
        """Requests of a parked app are answered by what serves after unpark."""
        await form.proxy.replace_table(app_table(1))
        await form.proxy.park(AppName("app"), 5.0)
        answer = deferToThread(form.get, "app.example.com")
        while not form.proxy.stats().requests_total:
            await deferToThread(lambda: None)
        assert not answer.called
        await form.proxy.replace_table(app_table(2, upstream))
        await form.proxy.unpark(AppName("app"))
        assert await answer == (200, b"hello")

    async def test_unpark_without_an_upstream(self, form: Form) -> None:
        """What was held gets 503."""
        await form.proxy.replace_table(app_table(1))
        await form.proxy.park(AppName("app"), 5.0)
        answer = deferToThread(form.get, "app.example.com")
        while not form.proxy.stats().requests_total:
            await deferToThread(lambda: None)
        await form.proxy.unpark(AppName("app"))
        assert (await answer)[0] == 503
        assert (await deferToThread(form.get, "app.example.com"))[0] == 503

    async def test_parking_has_an_end(self, form: Form) -> None:
        """Without unpark the limit ends it with 503."""
        await form.proxy.replace_table(app_table(1))
        await form.proxy.park(AppName("app"), 0.1)
        assert (await deferToThread(form.get, "app.example.com"))[0] == 503

    async def test_failures_are_reported(self, form: Form, dead: Upstream) -> None:
        """An upstream that takes no connection is named to the control side."""
        failures: list[UpstreamFailure] = []
        form.proxy.on_upstream_failure(failures.append)
        await form.proxy.replace_table(app_table(1, dead))
        assert (await deferToThread(form.get, "app.example.com"))[0] == 502
        while not failures:  # it comes from another process, or is here already
            await deferToThread(lambda: None)
        assert [failure.key for failure in failures] == [dead.key]
