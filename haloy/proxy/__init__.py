"""One request, front to back. Knows nothing of Docker, deployments or the API.

Where things are:

  - The client's side: L{listener} accepts, by L{accepting}; L{connection} is one
    connection from its handshake to its end, L{crowd} counts those of each client;
    L{origin} and L{forwarded} say who the client is;
    L{downstream} reads its requests. L{http2} is the same for HTTP/2, and L{client}
    is what the rest sees of either.
  - What is said: L{head}, L{response_head}, L{body} and L{fields} parse strictly and
    write anew; L{head_cache} remembers blocks of fields that L{seen} has met before;
    L{exchange} is the state machine of a request with its answer.
  - Where a request goes: L{dispatch} asks the table (L{routes}), L{target} has what is
    known of a route; L{upstream_selection} tries replicas in the order of L{balance};
    L{parking} holds what has to wait; L{pages} has the answers of our own.
  - The app's side: L{pool} keeps connections, L{upstream} is one of them;
    L{forwarding} drives the exchange between both sides, L{tunnel} what follows a 101.
  - Large bodies: L{splice} is a pipe of the kernel, used by L{body_splice} and by
    L{tunnel_splice}; over TLS they go out of one buffer, and come in by another where
    they come over HTTP/2 (L{tls}). Of small chunks there is L{upload_turns}.
  - The short way of requests like earlier ones: L{fast_path}; what it shares with
    the short ways of HTTP/2 is in L{fast_request}.
  - TLS: L{tls} has the contexts by server name and all that the C{ssl} module lacks.
  - What is told of requests: L{naming} has their ids, L{access_log} the records,
    L{access_lines} their text, L{access_file} the file; L{metrics} counts.
  - Beneath: L{descriptor} is a non-blocking socket, L{reactor} an epoll reactor with
    a short way to it, L{timer_wheel} has the deadlines of connections, L{keepalive}
    what TCP does about dead peers; L{switch} is what the connections of one worker
    share; L{form} says whether all this runs compiled.
    Many modules name L{switch.Switch} in their annotations, and it knows them: it is
    named as the class it is, since compiled code is slow to reach what a C{Protocol}
    has.
  - Processes: L{interface} is the contract, L{embedded} fulfils it inside haloyd by
    what L{settings} say. In the split form (L{split}) a supervisor keeps workers as
    processes, which begin in L{launch}; L{control} has the messages, L{privileges}
    what they may no longer do, L{shares} spreads new connections. A table becomes
    what is served by L{demand}, between requests by L{pacing}.
"""
