"""The overlay of a region: addresses, and later the links between sites."""
