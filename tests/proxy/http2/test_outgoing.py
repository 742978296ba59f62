"""Answers that clients take slowly, by a clock of the test."""

from __future__ import annotations

import pytest

from haloy.proxy.http2 import frames
from haloy.proxy.http2.outgoing import PROGRESS_BYTES
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import RawClient
from tests.proxy.http2.support import frame, number
from tests.proxy.support import answering, backend, in_thread
from tests.proxy.test_times import Clock, passes

LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000)


@pytest.mark.parametrize("pace", [PROGRESS_BYTES // 4 - 3000, PROGRESS_BYTES // 4 + 10])
async def test_a_client_has_a_pace(start_http2: Starter, pace: int) -> None:
    """1 KiB/s over a minute: who takes less is reset, who takes more is served."""
    clock = Clock()
    running = start_http2(clock=clock)

    def client() -> int | None:
        """Open the window by C{pace} every 15 seconds, for three minutes."""
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, pace)
        one = RawClient(running.https, settings=settings)
        one.send(one.get(1))
        for _ in range(12):
            taken = 0
            while taken < pace:
                found = one.frame()
                assert found is not None
                if found.kind == frames.RST_STREAM:
                    return int(frames.NUMBER.unpack(found.body)[0])
                if found.kind == frames.DATA:
                    taken += len(found.body)
            passes(running, clock, 15)
            opened = number(pace)
            one.send(*(frame(frames.WINDOW_UPDATE, 0, n, opened) for n in (0, 1)))
        return None

    with backend(answering(LARGE)) as app:
        await running.serve(app)
        code = await in_thread(client)
    assert code == (frames.CANCEL if pace * 4 < PROGRESS_BYTES else None)
