"""What every form of the proxy does; each form's tests run this with its own maker.

A form is given as a fixture; what asks it blocks and is called in a thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol as TypingProtocol

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from haloy.model.app import Domain
from haloy.model.certificate import Certificate, Challenge, ChallengeKind
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

    def shown(self, name: str, protocol: str = "http/1.1") -> bytes | None:
        """Return the certificate that who asks for C{name} is shown, as DER; blocks."""


class Opened(TypingProtocol):
    """A connection to an upstream that may go on as long as it likes."""

    def reset(self) -> None:
        """End it, so that whoever is at the other end knows."""


@frozen
class Unending:
    """An upstream of which requests and tunnels end when the client ends them."""

    upstream: Upstream
    begin: Callable[[], Opened]
    upgrade: Callable[[], Opened]


#: So many connections come to every worker that there may be.
EVERY_WORKER = 12
WILDCARD = DomainName("*.example.com")


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

    C{form}: a L{Form}, C{secure}: one with TLS. C{certificates}: two that differ, for
    different names. C{upstream}: an upstream that answers C{hello}. C{slow}: an
    upstream and a function that lets its one answer go. C{dead}: an upstream that
    refuses connections. C{unending}: L{Unending}. C{echoing}: an upstream that
    answers whether it is told that the request came from 192.0.2.7, which
    C{Form.get} says.
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

    async def test_what_is_gone_is_gone(self, form: Form, upstream: Upstream) -> None:
        """Domains of all kinds, from one table to the next, with every worker."""
        hosts = ("app.example.com", "alias.example.net", "any.example.com")

        async def seen() -> list[set[int]]:
            return [
                {(await deferToThread(form.get, host))[0] for _ in range(EVERY_WORKER)}
                for host in hosts
            ]

        app = Domain(DomainName("app.example.com"), (DomainName("alias.example.net"),))
        both = [
            RoutedApp(AppName("app"), (app,), (upstream,)),
            RoutedApp(AppName("wild"), (Domain(WILDCARD),), (upstream,)),
        ]
        for generation, (apps, expected) in enumerate(
            [
                (both, [{200}, {301}, {200}]),
                (both[:1], [{200}, {301}, {404}]),
                (both[1:], [{200}, {404}, {200}]),
                ([], [{404}, {404}, {404}]),
            ],
            1,
        ):
            table, _ = build_table(generation, None, apps)
            await form.proxy.replace_table(table)
            assert await seen() == expected, generation

    async def test_certificates(
        self, secure: Form, certificates: tuple[Certificate, Certificate]
    ) -> None:
        """Every worker serves with exactly those of the newest set."""

        async def seen() -> list[set[bytes | None]]:
            return [
                {
                    await deferToThread(secure.shown, one.name)
                    for _ in range(EVERY_WORKER)
                }
                for one in certificates
            ]

        wanted = [
            {ssl.PEM_cert_to_DER_cert(one.chain.decode())} for one in certificates
        ]
        first, second = certificates
        for held, expected in (
            ((first,), [wanted[0], {None}]),
            ((first, second), wanted),
            ((second,), [{None}, wanted[1]]),
            ((evolve(first, chain=second.chain, key=second.key),), [wanted[1], {None}]),
            ((), [{None}, {None}]),
        ):
            await secure.proxy.replace_certificates(held)
            assert await seen() == expected

    async def test_a_challenge_in_the_handshake(
        self, secure: Form, certificates: tuple[Certificate, Certificate]
    ) -> None:
        """TLS-ALPN-01, from present to withdraw, with every worker."""
        name = DomainName("x.example")
        shown = ssl.PEM_cert_to_DER_cert(certificates[0].chain.decode())

        async def seen() -> set[bytes | None]:
            return {
                await deferToThread(secure.shown, name, "acme-tls/1")
                for _ in range(EVERY_WORKER)
            }

        challenge = Challenge(
            ChallengeKind.TLS_ALPN_01, name, "token", "token.print", certificates[0]
        )
        await secure.proxy.present(challenge)
        assert await seen() == {shown}
        await secure.proxy.withdraw(challenge)
        assert await seen() == {None}

    async def test_challenges(self, form: Form) -> None:
        """A challenge is answered from present to withdraw."""
        challenge = Challenge(
            ChallengeKind.HTTP_01, DomainName("x.example"), "token", "token.print"
        )
        path = "/.well-known/acme-challenge/token"
        await form.proxy.present(challenge)
        for _ in range(EVERY_WORKER):
            seen = await deferToThread(form.get, "x.example", path)
            assert seen == (200, b"token.print")
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

    async def test_what_runs_is_counted_and_drained(
        self, form: Form, unending: Unending
    ) -> None:
        """Requests and tunnels, of all workers, also when the upstream is out.

        A drain waits for requests first, then for tunnels, and tells what is left.
        """
        key = unending.upstream.key

        async def until(what: Callable[[], bool]) -> None:
            while not what():
                await deferToThread(lambda: None)

        stats = form.proxy.stats
        await form.proxy.replace_table(app_table(1, unending.upstream))
        requests = [await deferToThread(unending.begin) for _ in range(4)]
        tunnels = [await deferToThread(unending.upgrade) for _ in range(4)]
        await until(lambda: (stats().requests_active, stats().tunnels_active) == (4, 4))
        assert stats().connections == 8
        assert stats().draining == {}
        await form.proxy.replace_table(app_table(2))
        await until(lambda: stats().draining == {key: Leftover(4, 4)})
        at_once = DrainLimits(0.02, 0.02)
        assert await form.proxy.drain(key, at_once) == Leftover(4, 4)
        for one in requests:
            one.reset()
        assert await form.proxy.drain(key, DrainLimits(20.0, 0.0)) == Leftover(0, 4)
        drained = Deferred.fromCoroutine(form.proxy.drain(key, DrainLimits(20.0, 20.0)))
        for one in tunnels:
            assert not drained.called
            one.reset()
        assert await drained == Leftover(0, 0)
        await until(lambda: stats().draining == {})

    async def test_parked_requests_wait(self, form: Form, upstream: Upstream) -> None:
        """Requests of a parked app are answered by what serves after unpark."""
        await form.proxy.replace_table(app_table(1))
        await form.proxy.park(AppName("app"), 5.0)
        answer = deferToThread(form.get, "app.example.com")
        while not form.proxy.stats().requests_total:
            await deferToThread(lambda: None)
        while form.proxy.stats().parked != ("app",):
            await deferToThread(lambda: None)
        assert not answer.called
        await form.proxy.replace_table(app_table(2, upstream))
        await form.proxy.unpark(AppName("app"))
        assert await answer == (200, b"hello")
        while form.proxy.stats().parked:
            await deferToThread(lambda: None)

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
        others: list[UpstreamFailure] = []
        form.proxy.on_upstream_failure(failures.append)
        form.proxy.on_upstream_failure(others.append)
        await form.proxy.replace_table(app_table(1, dead))
        assert (await deferToThread(form.get, "app.example.com"))[0] == 502
        while not failures:  # it comes from another process, or is here already
            await deferToThread(lambda: None)
        assert [failure.key for failure in failures] == [dead.key]
        assert failures[0].reason
        assert others == failures

    async def test_who_is_trusted(self, form: Form, echoing: Upstream) -> None:
        """The word of a peer on the client's address counts from when it is trusted.

        Workers may have to be replaced for it: it is soon so, with all of them.
        """
        await form.proxy.replace_table(app_table(1, echoing))

        async def seen() -> set[bytes]:
            return {
                (await deferToThread(form.get, "app.example.com"))[1]
                for _ in range(EVERY_WORKER)
            }

        for networks, told in (((), b"no"), (("127.0.0.0/8",), b"yes"), ((), b"no")):
            form.proxy.trust(networks)
            while await seen() != {told}:
                pass
