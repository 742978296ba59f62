"""Register C{twistd --reactor haloy}."""

from twisted.application.reactors import Reactor

haloy = Reactor(
    "haloy", "haloy.proxy.reactor", "epoll with a short way to the proxy's connections"
)
