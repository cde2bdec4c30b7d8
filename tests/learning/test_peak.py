"""Reading displacements off a response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import peak


@pytest.mark.parametrize("grid", [(8, 8), (7, 5), (6, 9)])
def test_every_displacement_is_decoded_with_its_sign(grid):
    rows, columns = peak.displacements(grid)
    assert set(rows) == set(range(-(grid[0] // 2), (grid[0] + 1) // 2))
    for r in rows:
        for c in columns:
            response = np.zeros(grid, np.float32)
            response[int(r) % grid[0], int(c) % grid[1]] = 1
            np.testing.assert_array_equal(peak.largest(jnp.asarray(response)), [r, c])


def test_zero_displacement_is_the_middle_of_the_shifted_map():
    for grid in [(8, 8), (7, 5)]:
        response = np.zeros(grid, np.float32)
        response[0, 0] = 1
        index = np.unravel_index(np.argmax(np.fft.fftshift(response)), grid)
        assert index == (grid[0] // 2, grid[1] // 2)


def test_ties_go_to_the_first_in_column_major_order():
    response = np.zeros((4, 4), np.float32)
    response[0, 1] = response[1, 0] = 1
    np.testing.assert_array_equal(peak.largest(jnp.asarray(response)), [1, 0])


def test_refinement_finds_the_vertex_of_a_parabola():
    rows, columns = (np.fft.fftfreq(n, 1 / n) for n in (9, 11))
    for top in [(0.3, -0.2), (-0.45, 0.1), (3.2, -3.7)]:
        response = -((rows[:, None] - top[0]) ** 2) - 2 * (columns[None, :] - top[1]) ** 2
        response = jnp.asarray(response, jnp.float32)
        np.testing.assert_allclose(peak.refine(response, peak.largest(response)), top, atol=1e-4)


def test_refinement_of_a_flat_response_stays():
    np.testing.assert_array_equal(peak.refine(jnp.zeros((5, 5)), jnp.asarray([1.0, -2.0])), [1, -2])


def test_soft_argmax_tends_to_the_peak_and_has_its_gradient():
    rows, columns = (np.fft.fftfreq(n, 1 / n).astype(np.float32) for n in (15, 15))

    def read(top):
        response = jnp.exp(-((rows[:, None] - top[0]) ** 2 + (columns[None, :] - top[1]) ** 2) / 8)
        return peak.soft_argmax(response, 0.1)

    top = jnp.asarray([1.3, -2.4])
    np.testing.assert_allclose(read(top), top, atol=0.02)
    np.testing.assert_allclose(jax.jacobian(read)(top), np.eye(2), atol=0.05)


def test_the_diamond_of_equation_5():
    mask = np.asarray(peak.within((7, 7), jnp.asarray([1.0, -1.0]), 2.0))
    for r in range(-3, 4):
        for c in range(-3, 4):
            assert mask[r % 7, c % 7] == (abs(r - 1) + abs(c + 1) <= 2)
