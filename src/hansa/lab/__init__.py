"""Many hosts on one machine, each a network namespace; and the demos, clients like any other."""
