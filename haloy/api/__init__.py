"""What client and daemon say to each other."""
