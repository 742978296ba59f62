"""Register C{twistd haloy-proxy}."""

from haloy.plugin import Subcommand

haloy_proxy = Subcommand(
    "haloy-proxy",
    "haloy.proxy_tap",
    "Route HTTP and HTTPS to containers, as haloyd says.",
    "haloy-proxy",
)
