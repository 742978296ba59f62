"""Register C{twistd haloyd}."""

from haloy.plugin import Subcommand

haloyd = Subcommand(
    "haloyd", "haloy.tap", "Deploy containers and route traffic to them.", "haloyd"
)
