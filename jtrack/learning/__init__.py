"""The mathematics of the trackers, one idea a file."""
