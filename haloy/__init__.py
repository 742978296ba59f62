"""Haloy: put containers on your own servers, without losing a request.

Where things are; C{docs/architecture.md} says who may import whom:

  - The two commands: L{cli} is C{haloy}; L{daemon} is C{haloyd}, where all parts meet.
  - Between them: L{api}, the server and its client.
  - On the server: L{deploy} makes run what should run, L{engine} is what runs it,
    L{health} says whether it is fit to serve, L{certs} gets certificates, L{proxy}
    carries requests.
  - What all share: L{model} has the words, L{config} the files that people write,
    L{store} what must survive, L{errors} what people are told.
  - twistd: L{plugin} is what it finds, L{tap} and L{proxy_tap} are what that leads to;
    L{libraries} looks whether the compiled files can be loaded at all.
  - Small things: L{clock}, L{tasks} and L{garbage} of a process that lives long;
    L{observers} and L{journal} write its log; L{systemd}, L{socket_file} and L{turns}
    are its surroundings; L{groups} and L{tables} are commands and lists.
"""
