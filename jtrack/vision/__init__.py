"""Images and boxes: pure functions over arrays."""
