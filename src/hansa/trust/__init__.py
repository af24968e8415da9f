"""Who may say what: tokens, later descriptors and vouches."""
