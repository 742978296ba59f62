"""Why Docker cannot be reached, as a person reads it."""

from __future__ import annotations

from http.client import RemoteDisconnected

import pytest
import requests
from docker.errors import DockerException
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from urllib3.exceptions import ProtocolError

from haloy.engine.away import unreachable

CLOSED = RemoteDisconnected("Remote end closed connection without response")
ABORTED = requests.ConnectionError(ProtocolError("Connection aborted.", CLOSED))


def of_the_version(problem: Exception) -> Exception:
    made = DockerException(f"Error while fetching server API version: {problem}")
    made.__cause__ = problem
    return made


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ABORTED, "Remote end closed connection without response"),
        (of_the_version(ABORTED), "Remote end closed connection without response"),
        (ResponseNeverReceived([Failure(ConnectionDone())]), "closed cleanly"),
        (FileNotFoundError(2, "No such file or directory"), "No such file"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_words(problem: Exception, words: str) -> None:
    """The cause itself, without the names and brackets of what carried it."""
    text = str(unreachable(problem))
    assert text.startswith("Docker is unreachable: ")
    assert words in text
    assert not set(text) & set("(<[")
