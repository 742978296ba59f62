"""What Docker says, without the server's own places. Pure.

Its words reach people who may deploy and know nothing of the server (A20).
"""

from __future__ import annotations

import re

_ADDRESSES = (
    r"unix://\S+"
    r"|(?<![\w.:/-])(?:(?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-fA-F:]+\])(?::\d+)?"
    # "10.0.0.1:5000/people/shop" is what was asked for, "10.0.0.0/24" is the server's.
    r"(?![\w.]|:\d|/(?!\d{1,3}(?![\w./-]|[:@]\w))[a-z0-9])"
)
_PATH_BEGINS = r"(?<![\w.:/-])/"
_PATH_GOES_ON = r"[^\s:,'\"]*"
#: Paths and addresses of the server, but not those inside of URLs and references.
_PLACES = re.compile(_ADDRESSES + rf"|{_PATH_BEGINS}(?:[^\s/:'\"]+/)+{_PATH_GOES_ON}")
#: Where a container's own files are seen from outside, by the usual storage drivers.
_ROOT_OF_CONTAINER = re.compile(
    rf"{_PATH_BEGINS}[^\s:,'\"]*/[0-9a-f]{{24,}}/(?:merged|rootfs)(?=/)"
)
#: Directories of Docker, containerd and ours, and what is named by a digest.
_INTERNALS = re.compile(
    _ADDRESSES + rf"|{_PATH_BEGINS}(?:var/lib|run|var/run)/"
    rf"(?:docker|containerd|haloy){_PATH_GOES_ON}"
    rf"|{_PATH_BEGINS}[^\s:,'\"]*/[0-9a-f]{{24,}}{_PATH_GOES_ON}"
)


def without_places(text: str) -> str:
    """Return C{text} without any path or address: who asks has named none."""
    return _PLACES.sub("…", text)


def without_internals(text: str) -> str:
    """Return why an app does not run, without what is the server's alone.

    Paths in the image and those of volumes were written by who deploys; without them
    nobody could mend what is wrong.
    """
    return _INTERNALS.sub("…", _ROOT_OF_CONTAINER.sub("", text))
