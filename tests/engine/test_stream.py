"""What C{engine.stream} makes of Docker's bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haloy.engine.interface import Output, Stream
from haloy.engine.stream import (
    FrameDecoder,
    LineSplitter,
    PullDecoder,
    RawDecoder,
    objects_in,
    pull_error,
)
from haloy.errors import (
    EngineError,
    HaloyError,
    InsufficientStorage,
    NotFound,
    Unauthorized,
)


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


def joined(outputs: list[Output]) -> dict[Stream, bytes]:
    found: dict[Stream, bytes] = {}
    for one in outputs:
        found[one.stream] = found.get(one.stream, b"") + one.data
    return found


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
@example([(1, b"one"), (2, b"two")], [1] * 30)
def test_any_split_gives_the_same_output(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """However the bytes arrive, each stream reads the same."""
    data = b"".join(frame(kind, text) for kind, text in frames)
    decoder, seen, position = FrameDecoder(), list[Output](), 0
    for cut in (*cuts, len(data)):
        seen += decoder.feed(data[position : position + cut])
        position += cut
    wanted = joined(
        [
            Output(Stream.ERR if kind == 2 else Stream.OUT, text)
            for kind, text in frames
            if text
        ]
    )
    assert joined(seen) == wanted


def test_length_reserves_nothing() -> None:
    """A21: a header that promises 4 GiB costs what has arrived."""
    decoder = FrameDecoder()
    (output,) = decoder.feed(struct.pack(">BxxxL", 1, 0xFFFFFFFF) + b"abc")
    assert output.data == b"abc"


def test_unframed_stream_is_an_error() -> None:
    """Text where a frame ought to be is told, not decoded."""
    with pytest.raises(EngineError, match="not framed"):
        list(FrameDecoder().feed(b"plain text of a terminal"))


def test_terminal_output_is_raw() -> None:
    """A21: a TTY container's stream has no frames."""
    decoder = RawDecoder()
    assert list(decoder.feed(b"a\r\n")) == [Output(Stream.OUT, b"a\r\n")]
    assert list(decoder.feed(b"")) == []


def test_lines_are_joined_and_long_ones_cut() -> None:
    """A line without end is given in pieces instead of being kept."""
    splitter = LineSplitter(4)
    assert splitter.feed(b"ab\r\ncd") == [b"ab"]
    assert splitter.feed(b"efgh\n\n") == [b"cdef", b"gh", b""]
    assert splitter.feed(b"123456789") == [b"1234", b"5678"]
    assert splitter.end() == [b"9"]
    assert splitter.end() == []


def test_pull_adds_up_layers() -> None:
    """A person sees layers and bytes over all layers."""
    decoder = PullDecoder("shop:1")
    decoder.feed({"status": "Pulling from library/shop", "id": "1"})
    decoder.feed({"status": "Already exists", "id": "a"})
    decoder.feed(
        {
            "status": "Downloading",
            "id": "b",
            "progressDetail": {"current": 5, "total": 20},
        }
    )
    progress = decoder.feed({"status": "Waiting", "id": "c"})
    assert (progress.layers_done, progress.layers_total) == (1, 3)
    assert (progress.bytes_done, progress.bytes_total) == (5, 20)
    assert progress.bytes_needed == 20
    done = decoder.feed({"status": "Pull complete", "id": "b"})
    assert (done.layers_done, done.bytes_done) == (2, 20)
    assert done.bytes_needed == 0
    assert decoder.feed({"status": "Digest: sha256:1"}).status == "Digest: sha256:1"


def test_a_layer_that_has_arrived_takes_an_unknown_rest() -> None:
    """How much of it is unpacked nobody tells in bytes of the disk."""
    decoder = PullDecoder("shop:1")
    detail = {"current": 5, "total": 20}
    for status, needed in (("Downloading", 20), ("Download complete", 0)):
        found = {"status": status, "id": "a", "progressDetail": detail}
        assert decoder.feed(found).bytes_needed == needed


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("toomanyrequests: slow down", EngineError, "rate limit"),
        (
            "write /var: no space left on device",
            InsufficientStorage,
            "write /var: no space",
        ),
        ("unauthorized: authentication required", Unauthorized, "credentials"),
        ("Head http://r/v2/x: no basic auth credentials", Unauthorized, "a login"),
        ("denied: requested access", Unauthorized, "credentials"),
        (
            "pull access denied for x, repository does not exist or may require login",
            NotFound,
            "no image",
        ),
        ("manifest unknown", NotFound, "no image"),
        ("unexpected EOF", EngineError, "unexpected EOF"),
    ],
)
def test_pull_errors_have_a_class(
    text: str, kind: type[HaloyError], words: str
) -> None:
    """D13: what the stream says of an error decides, and names the way out."""
    with pytest.raises(kind, match=words):
        PullDecoder("shop:1").feed({"error": text})
    assert "shop:1" in str(pull_error("shop:1", text))


def test_only_objects_are_taken() -> None:
    """Lines that are no JSON object are passed over."""
    assert list(objects_in(b'{"a":1}\nnonsense\n[1]\n{"b":2}')) == [{"a": 1}, {"b": 2}]
