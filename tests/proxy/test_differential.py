"""Whatever comes in, a peer behind us reads what we have read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.differential import check_requests, check_response

CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus").iterdir())

PARTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b HTTP/1.1\r\n",
    b"HEAD http://a.example/ HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 204 No\r\n",
    b"HTTP/1.1 103 Hints\r\n",
    b"Host: a.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, X-A\r\n",
    b"Upgrade: websocket\r\n",
    b"X-A: b\r\n",
    b"X-Forwarded-For: 6.6.6.6\r\n",
    b" folded\r\n",
    b"TE: trailers\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"a;b=c\r\n0123456789\r\n",
    b"\n",
    b"\r",
    b"\0",
]
STREAMS = st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=14)


@given(STREAMS)
def test_requests(parts: list[bytes]) -> None:
    """Requests in any order of right and wrong pieces."""
    check_requests(b"".join(parts))


@given(STREAMS, st.sampled_from([b"GET", b"HEAD"]), st.integers(0, 9))
def test_responses(parts: list[bytes], method: bytes, size: int) -> None:
    """The same for answers, cut in any way."""
    check_response(b"HTTP/1.1 200 OK\r\n" + b"".join(parts), method, size)


def test_corpus() -> None:
    """What the fuzzers have found interesting stays right."""
    assert len(CORPUS) > 100
    for path in CORPUS:
        data = path.read_bytes()[1:]
        check_requests(data)
        check_response(data, b"GET", 3)
        check_response(data, b"HEAD")


def test_a_short_fuzz(tmp_path: Path) -> None:
    """From the corpus the fuzzer finds nothing in some thousand more inputs."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.proxy.fuzz.fuzz_http"),
            *(str(tmp_path), str(Path(__file__).parent / "fuzz" / "corpus")),
            *("-runs=8000", "-max_total_time=10", "-print_final_stats=1"),
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=Path(__file__).parents[2],
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
    """Good bytes are taken as requests and answers: the checks are not idle."""
    good = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    assert check_requests(good * 3) == 3
    assert check_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
