"""A connection as the source of requests, without the connection."""

from __future__ import annotations

import re
from typing import cast

import pytest

from haloy.model.app import Address
from haloy.proxy import pages
from haloy.proxy.access_log import AccessRecord, Visit, record_of
from haloy.proxy.descriptor import Reactor
from haloy.proxy.exchange import Exchange
from haloy.proxy.forwarded import parse_networks
from haloy.proxy.head import RequestHead, parse_request
from haloy.proxy.origin import Origin, upgrade_of
from haloy.proxy.routes import Upstream
from haloy.proxy.switch import Switch
from haloy.proxy.target import Target
from haloy.proxy.timer_wheel import TimerWheel
from tests.proxy.support import table_of


class _Way:
    upstream_key = "one"
    head_at_s = 0.0
    app = "app"


def _switch(records: list[AccessRecord] | None = None) -> Switch:
    def note(visit: Visit) -> None:
        if records is not None:
            records.append(record_of(visit))

    switch = Switch(
        cast(Reactor, None),
        TimerWheel(lambda: 100.0),
        networks=parse_networks(["10.0.0.0/8"]),
        sink=None if records is None else note,
        id_prefix="0123456789ab",
        server_name=lambda connection: None,
        take_over=lambda connection: None,
    )
    switch.replace_table(table_of(Upstream("one", Address("127.0.0.1", 1))))
    return switch


def _request(*fields: str, host: str = "app.example.com") -> RequestHead:
    lines = ["GET / HTTP/1.1", f"Host: {host}", *fields]
    return parse_request("\r\n".join(lines).encode())


def test_a_target_is_found_again() -> None:
    """The second request of a name meets the same target, under a new request id."""
    switch = _switch()
    origin = Origin(switch, "192.0.2.1", secure=True)
    first, second = _request(), _request()
    target = origin.target_of(first)
    assert isinstance(target, Target)
    assert origin.target_of(second) is target
    assert first.request_id != second.request_id
    assert switch.requests_total == 2


@pytest.mark.parametrize(
    ("server_name", "host", "status"),
    [(None, "other.example.com", 404), ("other.example.com", "app.example.com", 421)],
)
def test_what_is_no_target(server_name: str | None, host: str, status: int) -> None:
    """Unknown names, and names of somebody else's connection, are answered at once."""
    origin = Origin(_switch(), "192.0.2.1", secure=True)
    origin.target_of(_request())
    origin.server_name = server_name
    page = origin.target_of(_request(host=host))
    assert isinstance(page, pages.Page)
    assert page.status == status


def test_a_remembered_target_does_not_hide_challenges() -> None:
    """Challenges are answered before anything else, on known names too."""
    origin = Origin(_switch(), "192.0.2.1", secure=True)
    origin.target_of(_request())
    request = _request()
    request.target = b"/.well-known/acme-challenge/x"
    assert isinstance(origin.target_of(request), pages.Page)


@pytest.mark.parametrize(
    ("peer", "said", "client", "proto"),
    [
        ("192.0.2.1", "X-Forwarded-For: 6.6.6.6", b"192.0.2.1", b"https"),
        ("10.0.0.1", "X-Forwarded-For: 6.6.6.6", b"6.6.6.6, 10.0.0.1", b"https"),
        ("10.0.0.1", "X-Forwarded-Proto: https", b"10.0.0.1", b"https"),
    ],
)
def test_what_the_app_is_told(
    peer: str, said: str, client: bytes, proto: bytes
) -> None:
    """Only a trusted peer is believed about whom it speaks for."""
    origin = Origin(_switch(), peer, secure=True)
    request = _request(said)
    target = origin.target_of(request)
    assert isinstance(target, Target)
    fields = origin.fields_for(request, target)
    assert b"X-Forwarded-For: %b\r\n" % client in fields
    assert b"X-Forwarded-Proto: %b\r\n" % proto in fields
    assert b"X-Request-ID: " + request.request_id in fields
    assert b"\r\ntraceparent: " + request.traceparent in fields
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.traceparent)


def test_a_trusted_proxy_that_took_plain_requests() -> None:
    """What it took plainly goes to HTTPS, though it speaks TLS to us."""
    origin = Origin(_switch(), "10.0.0.1", secure=True)
    page = origin.target_of(_request("X-Forwarded-Proto: http"))
    assert isinstance(page, pages.Page)
    assert page.status == 301


def test_the_log() -> None:
    """A record names the client, and who answered; without a sink there is none."""
    records: list[AccessRecord] = []
    for switch in (_switch(records), _switch()):
        origin = Origin(switch, "10.0.0.1", secure=False)
        request = _request("X-Forwarded-For: 6.6.6.6")
        origin.log(request, Exchange(request), _Way(), "done", 99.0)
        origin.log(request, Exchange(request), None, "cut", 99.5)
    forwarded, own = records
    assert (forwarded.client, forwarded.app, forwarded.upstream) == (
        "6.6.6.6",
        "app",
        "one",
    )
    assert (forwarded.head_s, forwarded.total_s) == (1.0, 1.0)
    assert (own.app, own.outcome, own.total_s) == ("", "cut", 0.5)


def test_which_protocol_is_asked_for() -> None:
    """A WebSocket passes; no upgrade is the usual case."""
    origin = Origin(_switch(), "192.0.2.1", secure=True)
    for fields, protocol in (
        ((), b""),
        (("Connection: upgrade", "Upgrade: websocket"), b"websocket"),
        (("Connection: upgrade", "Upgrade: h2c"), b""),
    ):
        request = _request(*fields)
        target = origin.target_of(request)
        assert isinstance(target, Target)
        assert upgrade_of(request, target) == protocol
