"""What the data path counts."""

from __future__ import annotations

import json
from typing import Any

from haloy.proxy import metrics
from haloy.proxy.access_log import (
    KINDS_LIMIT,
    AccessRecord,
    Kinds,
    Visit,
    visit_of,
)
from haloy.proxy.metrics import (
    GONE,
    NOBODY,
    OTHER,
    Counts,
    Handshakes,
    RequestCounter,
    TrafficReading,
    UpstreamReading,
    counted,
    from_values,
    total,
)

RECORD = AccessRecord(
    request_id="id",
    client="192.0.2.1",
    method="GET",
    host="a.example",
    target="/",
    protocol="HTTP/1.1",
    secure=True,
    status=200,
    outcome="done",
    app="shop",
    upstream="c1",
    bytes_in=5,
    bytes_out=70,
    head_s=0.02,
    total_s=0.5,
    user_agent="me",
)
KINDS = Kinds()


def visit(**changed: Any) -> Visit:
    """Return what is noted of C{RECORD} but for what is C{changed}."""
    return visit_of(RECORD._replace(**changed), KINDS)


def test_a_request_is_counted_once_everywhere() -> None:
    """Status, time to the head, bytes of both ways, and how it ended."""
    counter = RequestCounter()
    counter.note(visit())
    counter.note(visit(status=503, head_s=100.0, outcome="cut"))
    counter.note(visit(outcome="gone", status=0))
    (counts,) = counter.reading().values()
    assert counts.statuses == [1, 0, 1, 0, 0, 1]
    assert counts.buckets[2] == 2
    assert counts.buckets[-1] == 1
    assert (counts.bytes_in, counts.bytes_out) == (15, 210)
    assert (counts.cut, counts.gone) == (1, 1)
    assert round(counts.total_s, 3) == 1.5


def test_a_bound_belongs_to_its_bucket() -> None:
    """C{le} of Prometheus: at most."""
    counter = RequestCounter()
    counter.note(visit(head_s=0.005))
    assert counter.reading()["shop", "c1"].buckets[0] == 1


def test_what_reaches_nobody() -> None:
    """Redirects and refusals are ours; a strange status breaks nothing."""
    counter = RequestCounter()
    for _ in range(2):
        counter.note(visit(app="", upstream="", status=999))
    assert counter.reading()[NOBODY, NOBODY].statuses[0] == 2


def test_the_number_of_series_is_bounded(monkeypatch: object) -> None:
    """However many apps come and go between two readings."""
    counter = RequestCounter()
    for number in range(metrics.SERIES_LIMIT + 10):
        counter.note(visit(upstream=f"c{number}"))
    reading = counter.reading()
    assert len(reading) == metrics.SERIES_LIMIT + 1
    assert reading[OTHER, OTHER].statuses[2] == 10


def test_an_app_forgets_its_replicas_and_not_their_requests() -> None:
    """A deploy makes new series; sums of the app never go back."""
    counter = RequestCounter()
    for upstream in ("c1", "c2", "c2", "c3"):
        counter.note(visit(upstream=upstream))
    counter.note(visit(app="", upstream=""))
    counter.forget({"c3"})
    counter.forget({"c3"})
    reading = counter.reading()
    assert {key: one.statuses[2] for key, one in reading.items()} == {
        ("shop", "c3"): 1,
        ("shop", GONE): 3,
        (NOBODY, NOBODY): 1,
    }


def test_a_replica_that_comes_back_is_counted_anew() -> None:
    """What is known of its requests does not lead to what was added up."""
    counter = RequestCounter()
    counter.note(visit())
    counter.forget(())
    counter.note(visit())
    reading = counter.reading()
    assert {key: one.statuses[2] for key, one in reading.items()} == {
        ("shop", "c1"): 1,
        ("shop", GONE): 1,
    }


def test_what_is_known_of_kinds_is_bounded() -> None:
    """However many clients there are; all are counted."""
    counter = RequestCounter()
    for number in range(3 * KINDS_LIMIT // 2):
        counter.note(visit(client=f"client {number}"))
    assert len(counter._by_kind) <= KINDS_LIMIT
    assert counter.reading()["shop", "c1"].statuses[2] == 3 * KINDS_LIMIT // 2


def test_who_counts_passes_on() -> None:
    """To the access log, if there is one."""
    counter = RequestCounter()
    passed: list[Visit] = []
    counted(counter, None)(visit())
    counted(counter, passed.append)(visit())
    assert passed == [visit()]
    assert counter.reading()["shop", "c1"].statuses[2] == 2


def test_handshakes() -> None:
    """Full ones cost, resumed ones hardly."""
    shakes = Handshakes()
    shakes.finished(resumed=True)
    shakes.finished(resumed=False)
    shakes.finished(resumed=False)
    assert (shakes.full, shakes.resumed, shakes.failed) == (2, 1, 0)


def _reading(count: int) -> TrafficReading:
    counter = RequestCounter()
    for _ in range(count):
        counter.note(visit())
    return TrafficReading(
        counter.reading(),
        (UpstreamReading("shop", "c1", 1, 2, 3, 4),),
        connections=count,
        handshakes_full=1,
        handshakes_resumed=2,
        handshakes_failed=3,
    )


def test_the_readings_of_workers_add_up() -> None:
    """Each key once, whatever it is."""
    seen = total([_reading(2), _reading(3), TrafficReading({})])
    assert seen.counts["shop", "c1"].statuses[2] == 5
    assert seen.upstreams == (UpstreamReading("shop", "c1", 2, 4, 6, 8),)
    assert (seen.connections, seen.workers) == (5, 3)
    assert (seen.handshakes_full, seen.handshakes_failed) == (2, 6)


def test_a_reading_survives_the_way_from_a_worker() -> None:
    """As JSON over a socket."""
    sent = _reading(2)
    got = from_values(json.loads(json.dumps(sent.to_values())))
    assert got.to_values() == sent.to_values()
    assert isinstance(got.counts["shop", "c1"], Counts)
