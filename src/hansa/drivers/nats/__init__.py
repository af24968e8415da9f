"""NATS: the telegraph between a region and its nodes."""
