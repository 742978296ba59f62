"""What C{proxy.hello} reads from the first bytes of a connection."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.tls.client_hello import (
    LIMIT_BYTES,
    LIMIT_RECORDS,
    Hello,
    NeedMore,
    NotTls,
    read_hello,
)


def real_hello(name: str | None, *protocols: str) -> bytes:
    """Return what OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def vector(content: bytes, width: int) -> bytes:
    return len(content).to_bytes(width) + content


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(content, 2)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(b"\0" + vector(name, 2), 2))


def message(extensions: bytes | None) -> bytes:
    body = b"\3\3" + bytes(32) + vector(b"", 1) + vector(b"\x13\x01", 2)
    body += vector(b"\0", 1)
    if extensions is not None:
        body += vector(extensions, 2)
    return b"\x01" + vector(body, 3)


def record(content: bytes) -> bytes:
    return b"\x16\x03\x01" + vector(content, 2)


WHOLE = real_hello("shop.example.com", "h2", "http/1.1")


@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        ("shop.example.com", ("h2", "http/1.1")),
        ("shop.example.com", ("acme-tls/1",)),
        ("Shop.Example.com", ()),
        (None, ("http/1.1",)),
        (None, ()),
    ],
)
def test_hello_of_openssl_is_read(name: str | None, protocols: tuple[str, ...]) -> None:
    """The name comes as it was sent, the protocols in the client's order."""
    found = read_hello(real_hello(name, *protocols))
    assert found == Hello(
        (name or "").encode(), tuple(one.encode() for one in protocols)
    )


@pytest.mark.parametrize("protocols_first", [False, True])
def test_protocols_may_be_left_out(protocols_first: bool) -> None:
    """The name is the same, wherever it stands; the rest is not looked at."""
    both = [server_name(b"a.example.com"), extension(16, vector(vector(b"h2", 1), 2))]
    sent = record(message(b"".join(both[::-1] if protocols_first else both)))
    assert read_hello(sent) == Hello(b"a.example.com", (b"h2",))
    found = read_hello(sent, protocols=False)
    assert found == Hello(b"a.example.com", (b"h2",) * protocols_first)
    behind = record(message(both[0] + b"\0\0\0"))
    assert read_hello(behind) == NotTls()
    assert read_hello(behind, protocols=False) == Hello(b"a.example.com", ())


@given(st.integers(0, len(WHOLE) - 1))
def test_every_beginning_wants_more(cut: int) -> None:
    """And says how many bytes, never more than there will be."""
    found = read_hello(WHOLE[:cut])
    assert isinstance(found, NeedMore)
    assert cut < found.size_bytes <= len(WHOLE)


@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=LIMIT_RECORDS - 1),
    st.binary(max_size=40),
)
def test_records_may_split_the_message_anywhere(
    sizes: list[int], behind: bytes
) -> None:
    """RFC 8446 section 5.1: a message may span records; what follows is not read."""
    content, sent = message(server_name(b"a.example.com")), b""
    for size in sizes:
        part, content = content[:size], content[size:]
        if part:
            sent += record(part)
    if content:
        sent += record(content)
    assert read_hello(sent + behind) == Hello(b"a.example.com", ())
    for cut in range(len(sent)):
        found = read_hello(sent[:cut])
        assert isinstance(found, NeedMore)
        assert cut < found.size_bytes <= len(sent)


@given(st.binary(max_size=400))
def test_garbage_raises_nothing(data: bytes) -> None:
    """Anything may come from the network."""
    assert isinstance(read_hello(data), Hello | NeedMore | NotTls)


@given(st.binary(max_size=400))
def test_garbage_inside_a_record_raises_nothing(data: bytes) -> None:
    """Nor does a body that only looks like a hello."""
    assert isinstance(read_hello(record(b"\x01" + vector(data, 3))), Hello | NotTls)


@given(st.data())
def test_changed_bytes_raise_nothing(data: st.DataObject) -> None:
    """Lengths that lie are found out."""
    changed = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(
            st.integers(0, 255)
        )
    assert isinstance(read_hello(bytes(changed)), Hello | NeedMore | NotTls)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x05",
        b"\x80\x2e\x01\x00\x02",  # SSL 2
        record(b"\x02\0\0\0"),  # a ServerHello
        b"\x16\x03\x01\0\0",
        record(message(b"\0\0\0\x09short")),
        record(message(b"\0\0\0")),  # no whole extension
        record(b"\x01" + vector(b"\3\3" + bytes(32) + b"\xff", 3)),  # a session id
        record(b"\x01" + vector(message(None)[4:] + b"\0\x09", 3)),
        record(message(extension(0, b"\0"))),  # a name without a length
        record(message(extension(16, vector(b"\x09h2", 2)))),
    ],
)
def test_what_is_no_hello_is_said_to_be_none(data: bytes) -> None:
    """The TLS library then answers it as it sees fit."""
    assert read_hello(data) == NotTls()


def test_hello_without_extensions_asks_for_nothing() -> None:
    """TLS 1.0 clients sent such."""
    assert read_hello(record(message(None))) == Hello(b"", ())


def test_name_of_another_kind_is_no_name() -> None:
    """RFC 6066 knows host names only."""
    other = extension(0, vector(b"\x01" + vector(b"x", 2), 2))
    assert read_hello(record(message(other))) == Hello(b"", ())


def test_huge_hello_is_not_waited_for() -> None:
    """What a stranger makes us keep is bounded."""
    announced = b"\x16\x03\x01" + (LIMIT_BYTES).to_bytes(2) + b"\x01\xff\xff\xff"
    assert read_hello(announced) == NotTls()


def test_hello_in_crumbs_is_not_waited_for() -> None:
    """Nor may a stranger make us read the same bytes thousands of times."""
    whole = message(server_name(b"a.example.com"))
    crumbs = b"".join(record(whole[at : at + 1]) for at in range(len(whole)))
    assert read_hello(crumbs) == NotTls()
