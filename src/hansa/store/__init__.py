"""Where a region keeps its rows and its change log: on disk, or in the simulator's memory."""
