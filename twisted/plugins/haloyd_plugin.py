"""Register C{twistd haloyd}."""

from twisted.application.service import ServiceMaker

haloyd = ServiceMaker(
    "haloyd", "haloy.tap", "Deploy containers and route traffic to them.", "haloyd"
)
