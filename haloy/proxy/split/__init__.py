"""The split form: a supervisor and its workers, processes beside haloyd.

A L{supervisor} holds the sockets and keeps a L{worker_pool}; L{sockets} and
L{spawning} are how it and they start (in L{haloy.proxy.launch}); a L{worker} serves
what it is told; L{passing} is how tables get there.
L{state_files} is what a start without haloyd serves, written by L{state_writer}.
"""
