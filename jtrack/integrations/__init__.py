"""jtrack's trackers elsewhere: inside the official kits `got10k` and `vot`, and as StableHLO."""
