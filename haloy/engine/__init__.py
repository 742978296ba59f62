"""What runs containers: the calls we use, and Docker behind them.

Where things are:

  - Outside: L{interface} is the contract; L{address} says where a container is reached.
  - Docker: L{docker} fulfils the contract by Docker's client in threads, L{calls} has
    what takes more than a line there, L{inspecting} asks about many containers.
  - Without threads: L{http} speaks to the socket, L{streams} are logs, events, pulls
    and loads by it, L{stream} takes them apart, L{pulls} is the progress of a pull,
    L{commands} runs commands in containers.
  - What Docker says: L{values} makes our values of it, L{endings} remembers how
    containers ended, L{away} says why it cannot be reached.
"""
