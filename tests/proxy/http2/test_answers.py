"""Answers that come at once say the same as those that come piece by piece."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import ANSWER, BODY, END, RESPONSE, Event
from haloy.proxy.http2.engine import Engine
from tests.proxy.http2.support import Fields, block, client, frame, number

DATA, HEADERS = frames.DATA, frames.HEADERS
HEAD = ((":status", "200"), ("content-type", "application/grpc"))
LAST = (("grpc-status", "0"),)
MESSAGE = b"\0\0\0\0\3abc"


def head(stream: int, fields: Fields = HEAD, flags: int = 4) -> bytes:
    return frame(HEADERS, flags, stream, block(fields))


def last(stream: int, fields: Fields = LAST) -> bytes:
    return frame(HEADERS, 5, stream, block(fields))


def whole(stream: int, body: bytes = MESSAGE) -> bytes:
    return head(stream) + frame(DATA, 0, stream, body) + last(stream)


class Asking:
    """A client that takes every body when it comes, and notes what happens."""

    def __init__(self, *, at_once: bool) -> None:
        self.engine: Engine = client()
        self.at_once = at_once
        self.seen: list[Any] = []
        self.kinds: list[int] = []

    def ask(self) -> None:
        if self.at_once:
            self.engine.ask(block(), MESSAGE)
        else:
            stream = self.engine.open(block(), end=False)
            self.engine.data(stream, MESSAGE, end=True)

    def read(self, data: bytes) -> None:
        for event in self.engine.receive(data, 0.0):
            self.kinds.append(event[0])
            self._note(event)

    def _note(self, event: Event) -> None:
        kind, stream, what = event
        if kind == ANSWER:
            fields, body, trailers = what
            self.seen += [
                (RESPONSE, stream.id, fields),
                (BODY, stream.id, body),
                (END, stream.id, trailers),
            ]
        elif kind == BODY:
            body = self.engine.take_body(stream)
            self.engine.credit(stream, len(body))
            self.seen.append((BODY, stream.id, body))
        else:
            self.seen.append((kind, stream.id, what))

    @property
    def state(self) -> object:
        engine = self.engine
        return (
            self.seen,
            engine.take(),
            engine.receive_window,
            engine.held_bytes,
            round(engine.budget.tokens, 6),
            engine.failed,
            [(one.id, one.answered) for one in engine.streams.values()],
        )


def both(asked: int, *reads: bytes) -> Asking:
    """Ask and read, either way; all that can be seen must be the same."""
    ways = [Asking(at_once=at_once) for at_once in (True, False)]
    for way in ways:
        for _ in range(asked):
            way.ask()
        for data in reads:
            way.read(data)
    assert ways[0].state == ways[1].state
    assert ANSWER not in ways[1].kinds
    return ways[0]


def test_an_answer_like_the_one_before_is_one_event() -> None:
    """Also where several come in one read, and of several sizes."""
    found = both(4, whole(1), whole(3) + whole(5, b"x" * 16384), whole(7, b"y"))
    assert found.kinds == [RESPONSE, BODY, END, ANSWER, ANSWER, ANSWER]
    assert not found.engine.streams


def test_windows_are_opened_for_bodies_that_come_at_once() -> None:
    """A hundred of them are more than the first window."""
    found = both(100, *[whole(2 * one + 1, b"x" * 9000) for one in range(100)])
    assert found.kinds.count(ANSWER) == 99
    assert not found.engine.failed


def test_the_same_octets_mean_what_the_table_says_now() -> None:
    """A head and trailers that repeat an index, of which another field is made."""
    named, repeated = b"\x88\x40\x01a\x01%d", b"\x88\xbe"
    other = frame(HEADERS, 5, 9, b"\x40\x01a\x013")

    def answer(stream: int, block: bytes, trailers: bytes = b"\xbe") -> bytes:
        body = frame(DATA, 0, stream, MESSAGE)
        return (
            frame(HEADERS, 4, stream, block)
            + body
            + frame(HEADERS, 5, stream, trailers)
        )

    found = both(
        8,
        answer(1, named % 1) + answer(3, repeated) + answer(5, repeated),
        answer(7, named % 2) + other + answer(11, repeated) + answer(13, repeated),
        answer(15, repeated),
    )
    values = [what for kind, _, what in found.seen if kind == RESPONSE]
    assert [fields[1] for fields in values] == [
        *([(b"a", b"1")] * 3), (b"a", b"2"), *([(b"a", b"3")] * 3),
    ]  # fmt: skip
    assert found.kinds.count(ANSWER) > 2


OTHERS = {
    "another head": head(3, ((":status", "200"), ("content-type", "text/css")))
    + frame(DATA, 1, 3, MESSAGE),
    "no body": head(3) + last(3),
    "an empty body": head(3) + frame(DATA, 0, 3, b"") + last(3),
    "no trailers": head(3) + frame(DATA, 1, 3, MESSAGE),
    "trailers only": head(3, flags=5),
    "two pieces": head(3) + frame(DATA, 0, 3, b"a") + frame(DATA, 0, 3, b"b") + last(3),
    "padding": head(3) + frame(DATA, 8, 3, b"\1ab") + last(3),
    "a padded head": frame(HEADERS, 12, 3, b"\0" + block(HEAD))
    + frame(DATA, 0, 3, b"a")
    + last(3),
    "a ping inside": head(3) + frame(frames.PING, 0, 0, b"12345678") + whole(3)[9:],
    "another stream's body": head(3) + frame(DATA, 0, 5, b"a") + last(3),
    "another stream's trailers": head(3) + frame(DATA, 0, 3, b"a") + last(5),
    "trailers that do not end": head(3)
    + frame(DATA, 0, 3, b"a")
    + frame(HEADERS, 4, 3, block(LAST)),
    "trailers in two frames": head(3)
    + frame(DATA, 0, 3, b"a")
    + frame(HEADERS, 1, 3, block(LAST)[:3])
    + frame(frames.CONTINUATION, 4, 3, block(LAST)[3:]),
    "a head that is not final": head(3, ((":status", "103"),)) + whole(3)[9:],
    "no status": head(3, LAST) + frame(DATA, 0, 3, b"a") + last(3),
    "other trailers": head(3)
    + frame(DATA, 0, 3, b"a")
    + last(3, (("grpc-status", "5"),)),
    "bad trailers": head(3) + frame(DATA, 0, 3, b"a") + last(3, HEAD),
    "upper case": head(3) + frame(DATA, 0, 3, b"a") + last(3, (("A", "b"),)),
    "a frame too large": head(3) + frame(DATA, 0, 3, b"x" * 16385) + last(3),
    "a second answer": whole(1),
    "an answer to nothing": whole(99),
    "a block that cannot be decoded": head(3)
    + frame(DATA, 0, 3, b"a")
    + frame(HEADERS, 5, 3, b"\x80"),
    "a reset before": frame(frames.RST_STREAM, 0, 3, number(8)) + whole(3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_comes_piece_by_piece(name: str) -> None:
    """With the same meaning, and the same end where it breaks a rule.

    Also when the usual came at once before, and comes again.
    """
    found = both(3, whole(1), OTHERS[name])
    assert ANSWER not in found.kinds
    usual = whole(5) + whole(7)
    assert ANSWER in both(6, whole(1), usual, OTHERS[name], whole(9), whole(11)).kinds


def test_trailers_come_between_answers_that_come_at_once() -> None:
    """Those of an answer that has begun before them, and says something else."""
    late = frame(DATA, 0, 3, MESSAGE) + last(3, (("grpc-status", "5"),))
    usual = whole(5) + whole(7)
    assert ANSWER in both(6, whole(1), head(3), usual, late, whole(9), whole(11)).kinds


def test_blocks_mean_what_the_table_makes_of_them() -> None:
    """Octets that met another table before are read anew."""
    indexed = frame(HEADERS, 4, 3, block(HEAD) + b"\x40\1a\1b")
    answer = frame(DATA, 0, 3, b"x") + last(3)
    by_index = frame(HEADERS, 4, 5, block(HEAD) + b"\xbe")
    more = frame(DATA, 0, 5, b"x") + last(5)
    moved = frame(HEADERS, 4, 7, block(HEAD) + b"\x40\1c\1d")
    again = frame(HEADERS, 4, 9, block(HEAD) + b"\xbe") + frame(DATA, 0, 9, b"x")
    found = both(
        5,
        whole(1),
        indexed + answer,
        by_index + more,
        moved + frame(DATA, 0, 7, b"x") + last(7),
        again + last(9),
    )
    heads = [what for kind, _, what in found.seen if kind == RESPONSE]
    assert [one[-1] for one in heads] == [
        (b"content-type", b"application/grpc"),
        (b"a", b"b"),
        (b"a", b"b"),
        (b"c", b"d"),
        (b"c", b"d"),
    ]


@given(
    bodies=st.lists(
        st.sampled_from([b"", b"a", MESSAGE, b"x" * 63, b"x" * 64, b"x" * 16384]),
        min_size=1,
        max_size=30,
    ),
    cuts=st.lists(st.integers(0, 60_000), max_size=20),
)
def test_reads_may_end_anywhere(bodies: list[bytes], cuts: list[int]) -> None:
    """What is seen does not depend on where the kernel cuts."""
    text = b"".join(whole(2 * at + 1, body) for at, body in enumerate(bodies))
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    both(len(bodies), *[text[start:end] for start, end in pairwise(places)])
