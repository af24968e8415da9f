"""The command line: verbs and nouns, over the client and the composition roots."""
