"""What client and daemon say to each other.

Where things are:

  - Description, shared by all: L{catalogue} has every route, L{bodies} the requests,
    L{shapes} the answers, L{paths} the URLs; L{openapi}, L{class_schema} and
    L{reference} write them down.
  - The server: L{service} listens, L{channel} is one connection and L{body} one
    request, limited; L{heads}, L{hosts} and L{asked} read its head and query;
    L{gatekeeper} decides by L{auth} who may; L{server} has the routes, with those of
    L{access}, L{certificates}, L{deployments}, L{execution}, L{images}, L{logs},
    L{metrics}, L{registries}, L{server_log} and L{about}; L{answers} and L{schema}
    are what it says.
  - Uploads: L{multipart} and L{spool} receive, L{sections} reads parts as one file.
  - Streams of events: L{sse} is their form, L{streaming} sends them, L{events} and
    L{logs} are two of them.
  - Connections that stop being HTTP: L{takeover} on the server and L{upgrade} on the
    client begin them; L{tunnel}, L{websocket}, L{terminal} (with L{terminal_server}
    and L{terminal_client}) are spoken then.
  - The client: L{client} has one method for each call, L{certificate_calls} those
    about certificates; L{transport} sends them, over L{agent} or L{through_proxy};
    L{pieces} is an answer as it arrives.
"""
