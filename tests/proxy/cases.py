"""What raw clients send: one table of requests, good and bad.

A case is what it is called, the bytes, and what must come of it: a status with the
end of the connection (L{refused}), or so many requests that reach the app as they
were meant (L{passed}). C{test_cases} says how each is run.
"""

from __future__ import annotations

from attrs import frozen

HOST = b"Host: app.example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
BEHIND = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@frozen
class Case:
    """C{data} is sent at once; C{status} 0: it passes as C{requests} requests.

    With a status C{requests} are those that came before the fault.
    """

    data: bytes
    status: int = 0
    requests: int = 1
    body: bytes | None = None
    keeps: bool = True


def refused(data: bytes, status: int = 400) -> Case:
    return Case(data, status, 0)


def passed(
    data: bytes, requests: int = 1, body: bytes | None = None, *, keeps: bool = True
) -> Case:
    return Case(data, 0, requests, body, keeps)


def get(*lines: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, HOST[:-2], *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return get(*lines, line=b"POST / HTTP/1.1") + body


def _lengths() -> dict[str, Case]:
    bad = [
        b"+5",
        b"-5",
        b"0x5",
        b"5 5",
        b"5,5",
        b"5, 5",
        b"5;",
        b"5.0",
        b"5e0",
        b"",
        b" ",
        b"\t",
        b"five",
        b"0b101",
        b"0o5",
        b"5_0",
        b"\xb2",
        b"\xd9\xa5",
        b"'5'",
        b'"5"',
        b"(5)",
        b"5\x0b",
        b"5\x0c",
        b"5\x00",
        b"9" * 19,
        b"9" * 400,
        b"18446744073709551621",
        b"4294967301x",
        b"--5",
        b"NaN",
    ]
    cases = {
        f"length {value[:24]!r}": refused(
            post(b"Content-Length: " + value, body=b"hello" + BEHIND)
        )
        for value in bad
    }
    for first, second in ((5, 5), (5, 6), (0, 5), (5, 0)):
        cases[f"lengths {first} and {second}"] = refused(
            post(
                b"Content-Length: %d" % first,
                b"Content-Length: %d" % second,
                body=b"hello" + BEHIND,
            )
        )
    good = [b"5", b"05", b"0000000000000005", b" 5", b"5 ", b"\t5\t"]
    for value in good:
        cases[f"good length {value!r}"] = passed(
            post(b"Content-Length: " + value, body=b"hello"), body=b"hello"
        )
    for name in (b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh"):
        cases[f"name {name!r}"] = passed(post(name + b": 5", body=b"hello"))
    for name in (
        b"Content-Length ",
        b"Content-Length\t",
        b"Content Length",
        b"Content-Length\x0b",
        b"\x00Content-Length",
        b" Content-Length",
        b"Content-Length\xa0",
        b"Content-Length:",
    ):
        cases[f"length under {name!r}"] = refused(
            post(name + b": 5", body=b"hello" + BEHIND)
        )
    cases["length under an underscore"] = passed(
        post(b"Content_Length: 40", b"Content-Length: 5", body=b"hello"), body=b"hello"
    )
    cases["GET with a body"] = passed(get(b"Content-Length: 5") + b"hello")
    cases["no length, something behind"] = passed(
        post() + b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n", 2
    )
    return cases


CHUNKED = b"Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"


def _codings() -> dict[str, Case]:
    body = b"5\r\nhello\r\n" + LAST + BEHIND
    bad = [
        b"xchunked",
        b"chunkedx",
        b"chunked, chunked",
        b"chunked,chunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip",
        b"",
        b" ",
        b",",
        b",chunked",
        b"chunked,",
        b"chunked;",
        b"chunked;q=1",
        b'"chunked"',
        b"'chunked'",
        b"\x0bchunked",
        b"\x0cchunked",
        b"\x00chunked",
        b"chunked\x0b",
        b"chunked\x00",
        b"\xa0chunked",
        b"chunked\xa0",
        b"chunk ed",
        b"c\x68unked\x7f",
        b"cow",
        b"chunked\tx",
        b"trailers",
        b"deflate",
    ]
    cases = {
        f"coding {value!r}": refused(post(b"Transfer-Encoding: " + value, body=body))
        for value in bad
    }
    pairs = [
        (CHUNKED, b"Content-Length: 5"),
        (b"Content-Length: 5", CHUNKED),
        (CHUNKED, b"Content-Length: 0"),
        (CHUNKED, b"content-length: 60"),
        (CHUNKED, CHUNKED),
        (CHUNKED, b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: identity", CHUNKED),
        (CHUNKED, b"Transfer-Encoding: cow"),
        (CHUNKED, b"Transfer-encoding:"),
        (CHUNKED, b"Content-Length: x"),
        (CHUNKED, b"Content-Length : 5"),
        (b"X: y\r\n " + CHUNKED, b"Content-Length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding:\r\n chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding\r\n: chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding : chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding\t: chunked"),
        (b"Content-Length: 5", b" Transfer-Encoding: chunked"),
        (b"Content-Length: 5", b"X: x\nTransfer-Encoding: chunked"),
        (b"Content-Length: 5", b"X: x\rTransfer-Encoding: chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding\x00: chunked"),
    ]
    for first, second in pairs:
        cases[f"{first!r} then {second!r}"] = refused(post(first, second, body=body))
    for value in (
        b"chunked",
        b"Chunked",
        b"CHUNKED",
        b" chunked",
        b"chunked ",
        b"\tchunked",
    ):
        cases[f"good coding {value!r}"] = passed(
            post(b"Transfer-Encoding:" + value, body=b"5\r\nhello\r\n" + LAST),
            body=b"hello",
        )
    cases["coding under an underscore"] = passed(
        post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello"),
        body=b"hello",
    )
    cases["chunked for 1.0"] = refused(
        get(CHUNKED, line=b"POST / HTTP/1.0") + b"5\r\nhello\r\n" + LAST
    )
    cases["GET with chunks"] = passed(get(CHUNKED) + b"5\r\nhello\r\n" + LAST)
    return cases


def _chunks() -> dict[str, Case]:
    bad = [
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello",
        b"5\r\nhell\r\n",
        b"5\r\nhellos\r\n",
        b"g\r\nhello\r\n",
        b"\r\nhello\r\n",
        b"5;\nx\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;=b\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n',
        b"5;a b\r\nhello\r\n",
        b"5,5\r\nhello\r\n",
        b"5\r\rhello\r\n",
        b"5\rhello\r\n",
        b"1" + b"0" * 16 + b"\r\nhello\r\n",
        b"ffffffffffffffff\r\nhello\r\n",
        b"5\x00\r\nhello\r\n",
        b"\xb2\r\nhello\r\n",
        b"5.0\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b"5\r\n\r\nhello\r\n",
        b"5;\x00=b\r\nhello\r\n",
        b"5;a=" + b"x" * 5000 + b"\r\nhello\r\n",
        b"5\r\nhello\r\n\r\n",
        b"hello\r\n",
        b'5;a="\n"\r\nhello\r\n',
        b"5 ;a=b\r\nhello\r\n",
        b"5; a=b\r\nhello\r\n",
    ]
    cases = {
        f"chunk {value[:28]!r}": refused(post(CHUNKED, body=value + LAST + BEHIND))
        for value in bad
    }
    ends = [
        b"0\r\n\n",
        b"0\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX: y\r\r\n\r\n",
        b"0x\r\n\r\n",
    ]
    for value in ends:
        cases[f"last chunk {value!r}"] = refused(
            post(CHUNKED, body=b"5\r\nhello\r\n" + value + BEHIND)
        )
    cases["endless trailers"] = refused(
        post(CHUNKED, body=b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n" + BEHIND)
    )
    good = [
        b"5\r\nhello\r\n" + LAST,
        b"05\r\nhello\r\n" + LAST,
        b"000000005\r\nhello\r\n00\r\n\r\n",
        b"1\r\nh\r\n4\r\nello\r\n" + LAST,
        b"5;a\r\nhello\r\n" + LAST,
        b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n",
        b'5;a="b;c"\r\nhello\r\n' + LAST,
        b'5;a="\\"";d\r\nhello\r\n' + LAST,
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 90\r\nHost: other\r\n\r\n",
        b"5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\nno field\r\n\r\n",
    ]
    for value in good:
        cases[f"good chunks {value[:32]!r}"] = passed(
            post(CHUNKED, body=value), body=b"hello"
        )
    for value in (b"A", b"a"):
        cases[f"hexadecimal {value!r}"] = passed(
            post(CHUNKED, body=value + b"\r\n0123456789\r\n" + LAST), body=b"0123456789"
        )
    cases["a request inside a chunk"] = passed(
        post(CHUNKED, body=b"%x\r\n%b\r\n" % (len(BEHIND), BEHIND) + LAST), body=BEHIND
    )
    cases["chunks, then another request"] = passed(
        post(CHUNKED, body=b"5\r\nhello\r\n" + LAST) + get(line=b"GET /2 HTTP/1.1"), 2
    )
    return cases


def _lines() -> dict[str, Case]:
    bad: dict[bytes, int] = dict.fromkeys(
        (
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b" GET / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET\t/ HTTP/1.1",
            b"GET /\tHTTP/1.1",
            b"GET / HTTP/1.1\t",
            b"GET /",
            b"GET",
            b"/",
            b"GET / http/1.1",
            b"GET / HTTP/1.1x",
            b"GET / HTTP/1,1",
            b"GET / HTTP/1.10",
            b"GET / HTTP/01.1",
            b"GET / HTTP/+1.1",
            b"GET / HTTP1.1",
            b"GET / HTTPS/1.1",
            b"GET / ICY",
            b"GET / HTTP/ 1.1",
            b"GET / HTTP /1.1",
            b"GET / HTTP/1. 1",
            b"G\x00T / HTTP/1.1",
            b"G@T / HTTP/1.1",
            b"GET: / HTTP/1.1",
            b"G\xc9T / HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET /a\x00b HTTP/1.1",
            b"GET /a\x7fb HTTP/1.1",
            b"GET /\xe4 HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"GET /a\rb HTTP/1.1",
            b"GET /a\nb HTTP/1.1",
            b"GET index.html HTTP/1.1",
            b"GET ../x HTTP/1.1",
            b"GET * HTTP/1.1",
            b"GET *x HTTP/1.1",
            b"GET app.example.com HTTP/1.1",
            b"GET app.example.com:80 HTTP/1.1",
            b"GET ?x HTTP/1.1",
            b"GET  HTTP/1.1",
            b"GET ftp://app.example.com/ HTTP/1.1",
            b"GET http:/// HTTP/1.1",
            b"GET http://other.example.com/ HTTP/1.1",
            b"GET http:app.example.com HTTP/1.1",
            b"GET http://me@app.example.com/ HTTP/1.1",
            b"GET file:///etc HTTP/1.1",
            b"GET http://app.example.com:81/ HTTP/1.1",
            b"GET http://app.example.com.evil/ HTTP/1.1",
            b"GET http://app.example.com\\@evil/ HTTP/1.1",
            b"GET http://app.example.com#@evil/ HTTP/1.1",
            b"GET //app.example.com/ HTTP/1.1 HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01",
        ),
        400,
    )
    bad |= {
        b"GET / HTTP/2.0": 505,
        b"GET / HTTP/1.2": 505,
        b"GET / HTTP/0.9": 505,
        b"GET / HTTP/3.0": 505,
        b"GET / HTTP/9.9": 505,
        b"PRI * HTTP/2.0": 505,
        b"CONNECT app.example.com:443 HTTP/1.1": 405,
        b"CONNECT / HTTP/1.1": 405,
        b"TRACE / HTTP/1.1": 405,
        b"GET /" + b"a" * 8192 + b" HTTP/1.1": 414,
        b"GET /" + b"a" * 70000 + b" HTTP/1.1": 414,
        b"G" * 70000: 414,
    }
    cases = {
        f"line {line[:44]!r}{len(line)}": refused(get(line=line) + BEHIND, status)
        for line, status in bad.items()
    }
    good = [
        b"GET /a%2Fb%00%zz HTTP/1.1",
        b"GET /a//b/../c/./d HTTP/1.1",
        b"GET /?x=1;y=2&z=3 HTTP/1.1",
        b"GET //evil.example/ HTTP/1.1",
        b"GET /a?b?c HTTP/1.1",
        b'GET /[]{}|\\^`"<> HTTP/1.1',
        b"GET http://app.example.com/ HTTP/1.1",
        b"GET HTTP://APP.example.com/x HTTP/1.1",
        b"GET https://app.example.com?x HTTP/1.1",
        b"GET http://app.example.com HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"OPTIONS http://app.example.com HTTP/1.1",
        b"PATCH / HTTP/1.1",
        b"get / HTTP/1.1",
        b"PROPFIND / HTTP/1.1",
        b"M-SEARCH / HTTP/1.1",
        b"GET /" + b"a" * 8000 + b" HTTP/1.1",
        b"GET /@ HTTP/1.1",
    ]
    for line in good:
        cases[f"good line {line[:44]!r}"] = passed(get(line=line))
    cases["an empty line first"] = passed(b"\r\n" + get())
    cases["two empty lines first"] = refused(b"\r\n\r\n" + get() + BEHIND)
    cases["a bare line feed first"] = refused(b"\n" + get() + BEHIND)
    cases["nothing but line feeds"] = refused(
        GET.replace(b"\r\n", b"\n") + b"\n" + BEHIND
    )
    cases["line feeds at the end"] = refused(GET + b"X: y\n\n" + BEHIND)
    cases["1.0"] = passed(get(line=b"GET / HTTP/1.0"), keeps=False)
    cases["1.0 kept"] = passed(get(b"Connection: keep-alive", line=b"GET / HTTP/1.0"))
    return cases


def _fields() -> dict[str, Case]:
    bad = [
        b"X y: z",
        b"X : z",
        b"X\t: z",
        b": z",
        b"X",
        b"X-A",
        b"X(a): z",
        b"X,a: z",
        b"X;a: z",
        b"X/a: z",
        b"X=a: z",
        b"X?a: z",
        b"X@a: z",
        b"X[a]: z",
        b"X{a}: z",
        b'X"a": z',
        b"X\\a: z",
        b"\xe4: z",
        b"X\x00: z",
        b"X: \x00",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\nb",
        b"X: a\r\r",
        b"X: a\x0bb",
        b"X: a\x0cb",
        b"X: a\x1bb",
        b"X: a\x7fb",
        b"X: a\x01b",
        b" X: z",
        b"\tX: z",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\r\n \r\nY: z",
    ]
    cases = {
        f"field {line!r}": refused(get(line) + BEHIND) for line in dict.fromkeys(bad)
    }
    cases["a folded first field"] = refused(
        b"GET / HTTP/1.1\r\n " + HOST + HOST + b"\r\n" + BEHIND
    )
    cases["101 fields"] = refused(get(*[b"X: y"] * 100) + BEHIND, 431)
    cases["99 fields"] = passed(get(*[b"X: y"] * 98))
    cases["a head of 70 KB"] = refused(get(*[b"X: " + b"y" * 1000] * 70) + BEHIND, 431)
    cases["one field of 70 KB"] = refused(get(b"X: " + b"y" * 70000) + BEHIND, 431)
    cases["a head of 60 KB"] = passed(get(*[b"X: " + b"y" * 1000] * 60))
    for line in (
        b"X:",
        b"X:z",
        b"X:  z  ",
        b"X:\tz",
        b"X: \xe4\xff",
        b"X: a\tb",
        b"!#$%&'*+-.^_`|~: z",
        b"X: :::",
        b"X: y: z",
        b"0: z",
        b"X: " + b"y" * 30000,
    ):
        cases[f"good field {line[:24]!r}"] = passed(get(line))
    return cases


def _hosts() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    values = [
        b"",
        b" ",
        b"app.example.com/x",
        b"app.example.com?x",
        b"app.example.com#x",
        b"me@app.example.com",
        b"app example.com",
        b"app.example.com, app.example.com",
        b"app.example.com:",
        b"app.example.com:x",
        b"app.example.com:80:80",
        b"app.example.com:-80",
        b"app.example.com:800000",
        b"http://app.example.com",
        b"\xe4.example.com",
        b"app..example.com",
        b".",
        b".app.example.com",
        b"[::1",
        b"::1]",
        b"[::1]x",
        b"[app.example.com]",
        b"app.example.com\x00",
        b"app.example.com\\",
        b"app.example.com%00",
        b"a" * 300 + b".example.com",
        b"*.example.com",
        b"app.example.com;",
        b"'app.example.com'",
    ]
    for value in values:
        cases[f"host {value[:32]!r}"] = refused(
            b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n" + BEHIND
        )
    cases["no host"] = refused(b"GET / HTTP/1.1\r\n\r\n" + BEHIND)
    cases["no host for 1.0"] = refused(b"GET / HTTP/1.0\r\n\r\n")
    cases["two hosts"] = refused(get(b"Host: other.example.com") + BEHIND)
    cases["the same host twice"] = refused(get(HOST[:-2]) + BEHIND)
    cases["host with a space"] = refused(
        b"GET / HTTP/1.1\r\nHost : app.example.com\r\n\r\n" + BEHIND
    )
    cases["another host in the line"] = refused(
        b"GET http://other.example.com/ HTTP/1.1\r\n" + HOST + b"\r\n" + BEHIND
    )
    for value in (
        b"app.example.com",
        b"APP.Example.COM",
        b"app.example.com:80",
        b"app.example.com.",
        b"app.example.com.:8080",
        b"  app.example.com  ",
        b"\tapp.example.com",
    ):
        cases[f"good host {value!r}"] = passed(
            b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
        )
    cases["a host under an underscore"] = passed(get(b"H_ost: other"))
    return cases


def _connections() -> dict[str, Case]:
    five = b"Content-Length: 5"
    cases = {
        f"connection names {name!r}": passed(
            post(b"Connection: " + name, five, body=b"hello"), body=b"hello"
        )
        for name in (
            b"content-length",
            b"host",
            b"transfer-encoding",
            b"x-forwarded-for",
            b"X-Request-ID",
            b"keep-alive",
            b"te",
            b",",
            b"Content-Length, Host",
            b"upgrade",
            b"trailer",
        )
    }
    cases["close"] = passed(get(b"Connection: close"), keeps=False)
    cases["close among others"] = passed(get(b"Connection: x, CLOSE ,y"), keeps=False)
    cases["nothing is read behind close"] = passed(
        get(b"Connection: close") + BEHIND, keeps=False
    )
    for value in (b"h2c", b"websocket, h2c", b"tcp", b"TLS/1.0", b"WebSocket/2", b""):
        cases[f"upgrade {value!r}"] = passed(
            get(
                b"Connection: Upgrade, HTTP2-Settings",
                b"Upgrade: " + value,
                b"HTTP2-Settings: AAMAAABk",
            )
        )
    cases["an upgrade that Connection does not name"] = passed(
        get(b"Upgrade: websocket")
    )
    cases["an upgrade by POST"] = passed(
        post(b"Connection: upgrade", b"Upgrade: websocket", five, body=b"hello")
    )
    cases["an upgrade with a body"] = passed(
        get(b"Connection: upgrade", b"Upgrade: websocket", five) + b"hello"
    )
    cases["an upgrade for 1.0"] = passed(
        get(b"Connection: upgrade", b"Upgrade: websocket", line=b"GET / HTTP/1.0"),
        keeps=False,
    )
    cases["another expectation"] = refused(
        post(b"Expect: 200-ok", five, body=b"hello" + BEHIND), 417
    )
    for count in (2, 3, 20, 64):
        cases[f"{count} at once"] = passed(
            b"".join(get(line=b"GET /%d HTTP/1.1" % one) for one in range(count)), count
        )
    cases["bodies at once"] = passed(post(five, body=b"hello") * 5, 5)
    cases["a bad one behind a good one"] = Case(
        get() + b"GET  /x HTTP/1.1\r\n\r\n", 400, 1
    )
    return cases


TABLE: dict[str, dict[str, Case]] = {
    "lengths": _lengths(),
    "codings": _codings(),
    "chunks": _chunks(),
    "lines": _lines(),
    "fields": _fields(),
    "hosts": _hosts(),
    "connections": _connections(),
}
