"""The region: a synchronous core, which the simulator runs too, and its shell."""
