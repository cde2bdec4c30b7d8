"""How trackers are executed: one stream, or many targets and sequences at once."""
