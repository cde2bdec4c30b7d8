"""Sources of frames and annotated sequences."""
