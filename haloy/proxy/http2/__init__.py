"""HTTP/2 at the front, and h2c to the apps: RFC 9113 and RFC 7541."""
