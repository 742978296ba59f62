"""HTTP/2 at the front, and h2c to the apps: RFC 9113 and RFC 7541.

Where things are:

  - The protocol without sockets: L{engine} makes events of bytes, L{control} handles
    the frames that carry no request, L{bodies} those with bodies, L{answers} what apps
    answer; L{frames} has their numbers, L{sender} queues what goes out by its windows,
    L{stream_state} is what is known of a stream; L{decoder}, L{hpack} and L{huffman}
    are HPACK; L{budget} limits what a client may make us do for nothing.
  - Clients: L{downstream} is one connection (with L{multiplexed}, what it does with
    its socket), L{stream} one request on it, L{head} its fields as a request,
    L{exchange} and L{forwarding} its way to the app, L{outgoing} its answer.
  - Apps: L{upstream} spreads requests over connections, L{trunk} is one connection,
    L{asking} one request of our own, such as a probe.
  - Short ways of requests like earlier ones: L{fast_path} for plain ones,
    L{grpc_fast_path} for unary gRPC; L{plan} is what they remember.
  - L{turn}: work that is done once at the end of a turn of the reactor. L{reading}:
    whose turn it is when much comes. L{shedding}: the limit on what waits in the whole
    process.
"""
