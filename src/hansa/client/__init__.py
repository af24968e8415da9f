"""A client of any SECA server, and of our own groups where they are."""
