"""Session tickets: good at every worker, and for a day."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.task import Clock, deferLater

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.control.protocol import Tickets
from haloy.proxy.tls.contexts import SniContexts
from haloy.proxy.tls.tickets import (
    LIFE_S,
    SIZE_BYTES,
    SharedKeys,
    _address,
    _openssl,
    _words_at,
    new_keys,
    use_keys,
)
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.split.test_supervisor import reloaded
from tests.proxy.support import (
    answering,
    backend,
    get,
    in_thread,
    make_certificate,
    table_of,
)
from tests.proxy.tls.test_contexts import certificate, client_context, handshake

NAME = "app.example.com"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
VISITS = 12


def contexts(shop: Certificate, keys: Secret | None) -> SniContexts:
    found = SniContexts()
    found.renew(keys)
    found.replace((shop,))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_ticket_is_good_where_the_keys_are_the_same(version: ssl.TLSVersion) -> None:
    """And nowhere else: there it is a full handshake, and no error."""
    keys, shop = new_keys(), certificate(NAME)
    client = client_context()
    client.maximum_version = client.minimum_version = version
    first = handshake(contexts(shop, keys), NAME, client=client)
    for other, resumed in ((keys, True), (new_keys(), False), (None, False)):
        there = handshake(contexts(shop, other), NAME, first.session, client)
        assert (first.resumed, there.resumed) == (False, resumed)
        assert there.server_name == NAME


def test_keys_of_another_size_are_not_used() -> None:
    """The context goes on with its own."""
    assert not use_keys(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(b"short"))
    assert len(new_keys().value) == SIZE_BYTES


def test_what_is_no_context_of_a_server_is_left_alone() -> None:
    """Nothing is called with an address that was not recognized; none is followed."""
    openssl = _openssl()
    assert openssl is not None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert _address(server, openssl.server_method)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert _address(client, openssl.server_method) is None
    for address in (0, 1, 1 << 46, (1 << 64) - 8):
        assert _words_at(address) == ()


def test_keys_change_every_day() -> None:
    """Whoever takes a key today reads nothing of tomorrow."""
    clock, told = Clock(), list[Secret]()
    shared = SharedKeys(clock, told.append)
    first = shared.keys
    shared.start()
    clock.advance(LIFE_S - 1)
    assert (told, shared.keys) == ([], first)
    clock.advance(1)
    assert told == [shared.keys] != [first]
    clock.pump([LIFE_S] * 3)
    assert len({*told, first}) == 5
    shared.stop()
    assert not clock.getDelayedCalls()


# --- the whole proxy ------------------------------------------------------------------


def served() -> Certificate:
    chain, key = make_certificate(NAME)
    now = datetime.now(UTC)
    name = DomainName(NAME)
    return Certificate(name, frozenset({name}), chain, Secret(key), now, now)


class Visitor:
    """A browser that comes back, always with the first session it got."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = client_context()
        self.session: ssl.SSLSession | None = None

    def visit(self) -> bool:
        """Ask once by a new connection; return whether the session went on."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as plain,
            self.client.wrap_socket(
                plain, server_hostname=NAME, session=self.session
            ) as tls,
        ):
            tls.sendall(get(host=NAME, Connection="close"))
            assert tls.recv(65536).startswith(b"HTTP/1.1 200")
            self.session = self.session or tls.session
            return bool(tls.session_reused)

    async def visits(self) -> int:
        """Come so many times; return how often the session went on."""
        return sum([await in_thread(self.visit) for _ in range(VISITS)])


async def test_every_session_goes_on_with_one_worker(start_proxy: Starter) -> None:
    """12 of 12."""
    own = SniContexts()
    running = start_proxy(plain=False, contexts=own)
    own.replace((served(),))
    with backend(answering(OK)) as one:
        await running.serve(one)
        visitor = Visitor(running.https)
        assert not await in_thread(visitor.visit)
        assert await visitor.visits() == VISITS


async def test_every_session_goes_on_with_two_workers_and_over_a_reload(
    start_split: SplitStarter, reactor: Any
) -> None:
    """24 of 24; about half without the shared keys. Old ones fall back."""
    split = await start_split(plain=False)
    with backend(answering(OK)) as one:
        await split.proxy.replace_certificates((served(),))
        await split.proxy.replace_table(table_of(one))
        visitor = Visitor(split.https)
        assert not await in_thread(visitor.visit)
        assert await visitor.visits() == VISITS
        await reloaded(split, reactor)
        assert await visitor.visits() == VISITS
        # What the supervisor says once a day.
        workers = split.supervisor._workers
        assert workers is not None
        await workers.ask(Tickets(new_keys()))
        assert await visitor.visits() == 0
        assert await Visitor(split.https).visits() == VISITS - 1
        await deferLater(reactor, 0)
