"""The state of a training as one file, which is there whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from jtrack.errors import JtrackError
from jtrack.types import PyTree
from jtrack.untrusted import json_of
from jtrack.weights.tensors import opened
from jtrack.whole import replacing

_REMEDY = "delete it"


def save(path: Path, tree: PyTree, about: Mapping[str, Any]) -> None:
    """Writes a tree of arrays; the file that was there stays until the new one is complete.

    Args:
      path: the file.
      tree: any tree of arrays.
      about: what else to keep, of JSON.

    Raises:
      JtrackError: it cannot be written, as on a full disk.
    """
    leaves = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))[0]
    tensors = {jax.tree_util.keystr(key): np.asarray(leaf, order="C") for key, leaf in leaves}
    try:
        with replacing(path) as unfinished:
            save_file(tensors, unfinished, {"about": json.dumps(about)})
    except (OSError, SafetensorError) as error:
        kept = "the one before is kept" if path.is_file() else "there is none yet"
        raise JtrackError(
            f"cannot write the checkpoint {path}: {getattr(error, 'strerror', None) or error}; {kept}: make "
            "room and run the same command again"
        ) from None


def about(path: Path) -> dict[str, Any]:
    """What was kept beside the arrays.

    Raises:
      JtrackError: the file is damaged.
    """
    with opened(path, _REMEDY) as file:
        found = json_of((file.metadata() or {})["about"].encode())
        if not isinstance(found, dict):
            raise ValueError("what stands beside the arrays is no table")
        return found


def load(path: Path, like: PyTree) -> PyTree:
    """Reads the arrays back.

    Args:
      path: a file that `save` wrote.
      like: a tree of the same structure, shapes and dtypes, of arrays or `jax.ShapeDtypeStruct`.

    Raises:
      JtrackError: the file is damaged, or holds another tree, or a value that is not finite.
    """
    leaves, form = jax.tree_util.tree_flatten_with_path(like)
    size = sum(leaf.size * leaf.dtype.itemsize for _, leaf in leaves)
    found = []
    with opened(path, _REMEDY, largest=size) as file:
        for key, leaf in leaves:
            name = jax.tree_util.keystr(key)
            array = file.get_tensor(name)
            if array.shape != leaf.shape or array.dtype != leaf.dtype:
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")
            found.append(array)
    return jax.tree.unflatten(form, found)
