"""Shapes that follow no target, as those of most trackers."""

from typing import Self

from jtrack.types import Array, Box


class FixedShapes:
    """A config of which one program serves all targets."""

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> Self:
        """The same config: no shape follows the target."""
        del box, frame_size
        return self

    def for_lanes(self, boxes: Box, frame_sizes: Array) -> Self:
        """The same config: no shape follows the target."""
        del boxes, frame_sizes
        return self
