"""A descent: what it computes, what it keeps, and that it goes on to the bit."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.train import checkpoint, curves, loop

START = {"x": np.array([1.0, -2.0], np.float32)}


def descent(folder, **changes):
    """Gradient descent of x'x / 2 with a rate of .1: x shrinks by .9 a step. A batch is added to x."""

    @jax.jit
    def step(state, batch):
        return jax.tree.map(lambda x: x * jnp.float32(0.9) + batch, state), {"loss": jnp.sum(state["x"] ** 2)}

    def batches(start, stop):
        for number in range(start, stop):
            yield number, np.float32(number % 3)

    fields = {
        "folder": folder,
        "identity": {"seed": 0},
        "steps": 10,
        "keep_every": 4,
        "batches": batches,
        "advance": lambda state, number, batch: step(state, batch),
        "judge": lambda state: {"loss": float(jnp.sum(state["x"] ** 2))},
    }
    return loop.Descent(**(fields | changes))


def by_hand(steps):
    x = START["x"].copy()
    for number in range(steps):
        x = x * np.float32(0.9) + np.float32(number % 3)
    return x


def rows(folder):
    with (folder / loop.LOG).open() as file:
        return list(csv.DictReader(file))


def test_it_is_the_descent_by_hand_and_logs_it(tmp_path):
    seen = []
    done = loop.descend(descent(tmp_path), START, on_step=seen.append)
    np.testing.assert_allclose(done.state["x"], by_hand(10), rtol=1e-6)
    assert done.step == 10 and [at.step for at in seen] == list(range(1, 11))
    assert [at.held_out is not None for at in seen] == [n in (4, 8, 10) for n in range(1, 11)]
    table = rows(tmp_path)
    assert [row["step"] for row in table] == ["0", "4", "8", "10"]
    assert table[0]["loss"] == "" and float(table[0]["held_out_loss"]) == 5
    means = [np.sum(by_hand(n) ** 2) for n in range(4, 8)]
    assert float(table[2]["loss"]) == pytest.approx(np.mean(means), rel=1e-4)
    assert float(table[3]["held_out_loss"]) == pytest.approx(np.sum(by_hand(10) ** 2), rel=1e-4)
    columns = curves.read(tmp_path / loop.LOG)
    np.testing.assert_array_equal(columns["step"], [0, 4, 8, 10])
    assert np.isnan(columns["loss"][0])


def test_an_interrupted_one_goes_on_to_the_bit(tmp_path):
    whole = loop.descend(descent(tmp_path / "whole"), START)
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == 6

    part = loop.descend(descent(tmp_path / "parts"), START, stop=stop)
    assert part.step == 6
    seen = []
    rest = loop.descend(descent(tmp_path / "parts"), START, on_step=seen.append)
    assert seen[0].step == 7
    assert rest.state["x"].tobytes() == whole.state["x"].tobytes()
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["0", "4", "6", "8", "10"]
    again = loop.descend(descent(tmp_path / "parts"), START)  # there is nothing left to do
    assert again.step == 10 and again.state["x"].tobytes() == whole.state["x"].tobytes()


def test_rows_after_the_checkpoint_are_done_again(tmp_path):
    loop.descend(descent(tmp_path, steps=4), START)
    with (tmp_path / loop.LOG).open("a") as file:
        file.write("8,1,1,1\n4")  # and one that was cut off
    loop.descend(descent(tmp_path, steps=8), START)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "4", "8"]


def test_another_training_is_not_gone_on_with(tmp_path):
    loop.descend(descent(tmp_path), START)
    with pytest.raises(JtrackError, match=r"other seed \(0, now 1\): give the same, another --out"):
        loop.descend(descent(tmp_path, identity={"seed": 1}), START)
    with pytest.raises(JtrackError, match="has done 10 steps, 3 are wanted"):
        loop.descend(descent(tmp_path, steps=3), START)
    checkpoint.save(tmp_path / loop.CHECKPOINT, START, {"identity": {"seed": 0}, "step": True})
    with pytest.raises(JtrackError, match="does not say how far it came: delete it"):
        loop.descend(descent(tmp_path), START)


def test_what_is_not_finite_stops_it(tmp_path):
    good = descent(tmp_path)

    def advance(state, number, batch):
        state, figures = good.advance(state, number, batch)
        return state, {"loss": jnp.float32(jnp.nan)} if number == 5 else figures

    with pytest.raises(
        loop.DivergedError, match="diverged after step 6: loss is nan; the last good checkpoint, of step 4"
    ):
        loop.descend(descent(tmp_path, advance=advance), START)
    assert loop.descend(good, START).step == 10  # from step 4


def test_curves_are_drawn_of_logs(tmp_path):
    loop.descend(descent(tmp_path), START)
    path = tmp_path / "curves.png"
    curves.draw(path, {"filters": curves.read(tmp_path / loop.LOG)})
    assert path.read_bytes().startswith(b"\x89PNG")
    assert curves.read(tmp_path / "absent.csv") == {}
    (tmp_path / loop.LOG).write_text("step,loss\n1,one\n")
    with pytest.raises(JtrackError, match="delete it"):
        curves.read(tmp_path / loop.LOG)
