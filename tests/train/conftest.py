"""What tests of training share."""

import jax
import pytest


@pytest.fixture
def optax_promotes():
    """Allows optax what nothing of jtrack may do: its Adam mixes whole and real numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield
