"""Offline training: what is learnt once, before any video, and kept as weights."""
