"""Which requests are alike enough to be kept."""

from __future__ import annotations

from typing import Any, cast

import pytest
from attrs import define, field

from haloy.proxy.head import RequestHead, render_request
from haloy.proxy.http2.decoder import HeaderList, Rest
from haloy.proxy.http2.head import Meaning, request_of
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.plan import Plan, learn
from haloy.proxy.origin import Origin


@define
class Target:
    h2c: bool = False


@define
class Switch:
    networks: tuple[()] = ()
    secure_lanes: dict[bytes, object] = field(factory=dict)
    plain_lanes: dict[bytes, object] = field(factory=dict)
    secure_targets: dict[bytes, Target] = field(factory=dict)
    plain_targets: dict[bytes, Target] = field(factory=dict)


def origin_of(switch: Switch, *, secure: bool = True, trusted: bool = False) -> Origin:
    origin = Origin(cast(Any, switch), "192.0.2.1", secure=secure)
    origin.trusted = trusted
    return origin


def learned(
    *more: Field, method: bytes = b"GET", usual: bool = True, **facts: bool
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
    target = Target(h2c=facts.pop("h2c", False))
    switch = Switch()
    if usual:
        switch.secure_targets[b"app.example.com"] = target
    extra = (b"X-Forwarded-For: 1.2.3.4\r\nX-Request-ID: %b\r\ntraceparent: %b\r\n") % (
        request.request_id,
        request.traceparent,
    )
    head = render_request(request, b"", extra)
    learn(
        cast(Any, switch), origin_of(switch, **facts), fields, request,
        cast(Any, target), head,
    )  # fmt: skip
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
    learn(
        cast(Any, Switch()), origin_of(Switch()), fields, request,
        cast(Any, Target()), b"",
    )  # fmt: skip
    assert fields.rest.meaning is None
