"""The devices that lanes are shared out over."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "lanes"


def mesh_of(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis: of these devices, or of all local ones."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (AXIS,))


def spec(*axes: str | None) -> PartitionSpec:
    """Which leading axes are shared out (`AXIS`) and which not (None); without any, all have the whole."""
    untyped: Any = PartitionSpec
    made: PartitionSpec = untyped(*axes)
    return made


def placed(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """Where an array lies whose leading axes are as `spec` says."""
    return NamedSharding(mesh, spec(*axes))
