"""jtrack's trackers inside the official kits: `got10k` and `vot`."""
