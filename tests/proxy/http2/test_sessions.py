"""Whatever a peer sends, the engine keeps its limits and HTTP/1.1 reads the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import END, ENDED_REQUEST, REQUEST
from tests.proxy.http2 import sessions
from tests.proxy.http2.sessions import check_session
from tests.proxy.http2.support import POST, block, frame, number

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus-http2").iterdir())


def part(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return bytes([kind, flags, stream, len(body)]) + body


PARTS = [
    part(frames.HEADERS, 5, 1, block()),
    part(frames.HEADERS, 4, 1, block(POST)),
    part(frames.HEADERS, 4, 3, block((*POST, ("content-length", "5")))),
    part(frames.HEADERS, 1, 5, block()[:9]),
    part(frames.CONTINUATION, 4, 5, block()[9:]),
    part(frames.HEADERS, 5, 1, block((("x-sum", "1"),))),
    part(frames.HEADERS, 4, 1, block(((":status", "200"),))),
    part(frames.HEADERS, 4, 1, block(((":status", "103"),))),
    part(frames.DATA, 0, 1, b"hello"),
    part(frames.DATA, 1, 3, b"hello"),
    part(frames.DATA, 8, 1, b"\3hello"),
    part(frames.RST_STREAM, 0, 1, number(8)),
    part(frames.WINDOW_UPDATE, 0, 0, number(1000)),
    part(frames.WINDOW_UPDATE, 0, 1, number(0x7FFFFFFF)),
    part(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 0)),
    part(frames.SETTINGS, 0, 0, frames.SETTING.pack(1, 0)),
    part(frames.SETTINGS, 1, 0),
    part(frames.PING, 0, 0, b"12345678"),
    part(frames.GOAWAY, 0, 0, number(1) + number(0)),
    part(frames.PRIORITY, 0, 1, b"\0\0\0\0\1"),
]
MODES = st.integers(0, 15)


@given(
    MODES,
    st.integers(0, 255),
    st.lists(st.sampled_from(PARTS) | st.binary(max_size=6), max_size=12),
)
def test_any_session(mode: int, cut: int, parts: list[bytes]) -> None:
    """Frames in any order, right and wrong, whole and in pieces."""
    check_session(bytes([mode | 1, cut]) + b"".join(parts))


@given(MODES, st.binary(max_size=200))
def test_any_bytes(mode: int, data: bytes) -> None:
    """Without and with frames around them."""
    check_session(bytes([mode, 3]) + data)


def test_corpus() -> None:
    """What the fuzzer has found interesting stays right."""
    assert len(CORPUS) > 100
    for path in CORPUS:
        check_session(path.read_bytes())


def test_a_short_fuzz(tmp_path: Path) -> None:
    """From the corpus the fuzzer finds nothing in some thousand more sessions."""
    pytest.importorskip("atheris")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.proxy.fuzz.fuzz_http2"),
            *(str(tmp_path), str(CORPUS[0].parent)),
            *("-runs=4000", "-max_total_time=10", "-print_final_stats=1"),
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    count = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr)
    assert count is not None, done.stderr[-2000:]
    assert int(count.group(1)) > len(CORPUS)


def test_the_checks_see_something() -> None:
    """Good sessions are requests and answers: the checks are not idle."""
    start = frames.PREFACE + frame(frames.SETTINGS)
    data = start + sessions.session_of(PARTS[0] + PARTS[2] + PARTS[9])
    seen = sessions._play([data], client=False, answers=True)
    assert [(kind, stream) for kind, stream, _ in seen] == [
        (ENDED_REQUEST, 1),
        (REQUEST, 3),
        (END, 3),
    ]
    assert seen[0][2].startswith(b"GET / HTTP/1.1\r\nHost: app.example.com\r\n")
    assert b"Content-Length: 5\r\n" in seen[1][2]
