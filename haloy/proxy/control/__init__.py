"""What haloyd and a proxy in processes of its own say to each other.

L{protocol} lists the messages, L{values} turns values into JSON and back, L{route_text}
routes, L{changes} sends tables and certificates as differences, L{programs} says which
code workers run; L{link} is one connection. haloyd's side is L{client} and L{dial}, the
supervisor's L{server} behind its L{door}. L{release} says which releases can talk to
each other.
"""
