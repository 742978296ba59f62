"""Register C{twistd haloy-proxy}."""

from twisted.application.service import ServiceMaker

haloy_proxy = ServiceMaker(
    "haloy-proxy",
    "haloy.proxy_tap",
    "Route HTTP and HTTPS to containers, as haloyd says.",
    "haloy-proxy",
)
