"""Which requests are alike enough to be kept."""

from __future__ import annotations

from typing import Any, cast

import pytest

from haloy.model.app import Address
from haloy.proxy.descriptor import Reactor
from haloy.proxy.fast_request import Plan
from haloy.proxy.head import RequestHead, parse_request, render_request
from haloy.proxy.http2.decoder import HeaderList, Rest
from haloy.proxy.http2.head import Meaning, request_of
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.plan import learn
from haloy.proxy.origin import Origin
from haloy.proxy.routes import Upstream
from haloy.proxy.switch import Switch
from haloy.proxy.target import Target
from haloy.proxy.timer_wheel import TimerWheel
from tests.proxy.support import table_of


def serving() -> tuple[Switch, Origin]:
    """Return what a connection belongs to, and the connection as an origin."""
    switch = Switch(
        cast(Reactor, None),
        TimerWheel(lambda: 100.0),
        networks=(),
        sink=None,
        id_prefix="0123456789ab",
        server_name=lambda connection: None,
        take_over=lambda connection: None,
    )
    switch.replace_table(table_of(Upstream("one", Address("127.0.0.1", 1))))
    return switch, Origin(switch, "192.0.2.1", secure=True)


def learned(
    *more: Field,
    method: bytes = b"GET",
    usual: bool = True,
    secure: bool = True,
    trusted: bool = False,
    h2c: bool = False,
) -> Plan | None:
    """Let a request be noted; return the plan."""
    pseudo = [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", b"/a?b"),
        (b":authority", b"app.example.com"),
    ]
    fields = HeaderList(pseudo, Rest([(b"user-agent", b"ua"), *more], 0))
    request = request_of(fields, end=True)
    request.request_id = request.request_id or b"id1"
    request.traceparent = b"00-1-2-01"
    switch, origin = serving()
    target = origin.target_of(request)
    assert isinstance(target, Target)
    target.h2c = h2c
    origin.secure = secure
    origin.trusted = trusted
    if not usual:
        switch.secure_targets.clear()
    extra = (b"X-Forwarded-For: 1.2.3.4\r\nX-Request-ID: %b\r\ntraceparent: %b\r\n") % (
        request.request_id,
        request.traceparent,
    )
    head = render_request(request, b"", extra)
    learn(origin, fields, request, target, head)
    meaning = fields.rest.meaning
    assert isinstance(meaning, Meaning)
    return cast(Plan | None, meaning.plan)


def test_what_stays_the_same_is_kept() -> None:
    """From behind the target up to the request's id."""
    plan = learned()
    assert plan is not None
    assert plan.middle == (
        b" HTTP/1.1\r\nHost: app.example.com\r\nuser-agent: ua\r\n"
        b"X-Forwarded-For: 1.2.3.4\r\nX-Request-ID: "
    )
    assert (plan.authority, plan.name) == (b"app.example.com", "app.example.com")
    assert plan.user_agent == "ua"


@pytest.mark.parametrize(
    "case",
    [
        {"more": [(b"x-request-id", b"1")]},
        {"more": [(b"x-forwarded-for", b"1.1.1.1")]},
        {"more": [(b"content-length", b"0")]},
        {"method": b"HEAD"},
        {"usual": False},
        {"trusted": True},
        {"secure": False},
        {"h2c": True},
    ],
)
def test_what_is_not_plain_is_not_kept(case: dict[str, Any]) -> None:
    """What the client names, bodies, trusted peers, routes that are not usual."""
    assert learned(*case.pop("more", []), **case) is None


def test_fields_that_were_never_read_keep_nothing() -> None:
    """There is nothing to hang it at."""
    fields = HeaderList([], Rest([], 0))
    request = RequestHead(b"GET", b"/", False)
    _, origin = serving()
    target = origin.target_of(parse_request(b"GET / HTTP/1.1\r\nHost: app.example.com"))
    assert isinstance(target, Target)
    learn(origin, fields, request, target, b"")
    assert fields.rest.meaning is None
