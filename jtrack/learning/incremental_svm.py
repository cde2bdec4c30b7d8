"""A linear support vector machine that is learnt and unlearnt sample by sample, and is always exact.

It minimises 1/2 a' Q a - sum a over 0 <= a_i <= C_i with sum y_i a_i = 0, Q_ij = y_i y_j x_i' x_j. With
g_i = y_i f(x_i) - 1 the samples of the optimum are of three kinds: on the margin (g = 0), in reserve
(g >= 0, a = 0), in error (g <= 0, a = C). A new sample's a grows from 0 while those on the margin and the
bias follow so that g stays 0 there; where a sample would leave its kind the step ends and it changes kind
(Cauwenberghs and Poggio, NIPS 2000; Diehl and Cauwenberghs, IJCNN 2003). Removing a sample runs the same way
backwards, with its a going to 0. Along the path the inverse of the margin's bordered kernel matrix is updated
by rank one; at its end the margin is solved anew, so that nothing drifts.

Everything has a fixed capacity: K slots, some of them free. The path is a `while_loop`: it can be jitted and
vmapped, but has no reverse mode. What `implicit` is given to has the derivative of the optimum itself, by its
conditions. float32 or float64, as the features are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.types import Array

FREE, RESERVE, MARGIN, ERROR, WAITING, RISING, FALLING, LEAVING = range(8)
STEPS = 30  # changes of kind per slot at most, before a path is given up
ROUNDS = 6  # of path and exact solution at most; one is usual


class Model(NamedTuple):
    """Samples and the optimum over them."""

    features: Array  # [K, D]
    labels: Array  # [K] +1 or -1; 0 where nothing was ever stored
    gram: Array  # [K, K] inner products of the features
    bound: Array  # [K] C of each sample
    alpha: Array  # [K] Lagrange multipliers, 0 <= alpha <= bound
    bias: Array  # ()
    role: Array  # [K] int32: FREE, RESERVE, MARGIN or ERROR
    jitter: Array  # [K] added to the diagonal of a sample that others on the margin determine; else 0


class _Path(NamedTuple):
    """A point of the path."""

    alpha: Array  # [K]
    bias: Array  # ()
    gradient: Array  # [K] g
    role: Array  # [K]
    inverse: Array  # [1 + K, 1 + K] of the bordered matrix of the margin, 0 outside it
    jitter: Array  # [K]
    steps: Array  # () int32


def empty(capacity: int, size: int, dtype: jax.typing.DTypeLike = "float32") -> Model:
    """A machine that knows nothing.

    Args:
      capacity: K, how many samples it can hold.
      size: D, of a feature vector.
      dtype: float32 or float64.
    """
    vector = jnp.zeros(capacity, dtype)
    return Model(
        features=jnp.zeros((capacity, size), dtype),
        labels=vector,
        gram=jnp.zeros((capacity, capacity), dtype),
        bound=vector,
        alpha=vector,
        bias=jnp.zeros((), dtype),
        role=jnp.full(capacity, FREE, jnp.int32),
        jitter=vector,
    )


def add(
    model: Model,
    features: Array,
    labels: Array,
    bound: Array | float,
    valid: Array | None = None,
    *,
    implicit: bool = False,
) -> Model:
    """Learns samples.

    Args:
      model: the machine; it should have room (`shrink`).
      features: [N, D]; N at most K.
      labels: [N] +1 or -1.
      bound: C, a number or one a sample [N], positive.
      valid: [N] bool, which of them to learn; all when not given.
      implicit: whether the optimum has a derivative with respect to samples and bounds. Which samples are on
        the margin, in error and in reserve are constants of it.

    Returns:
      The optimum over all samples. They go to the free slots in order; those without one are not learnt.
    """
    count = features.shape[0]
    dtype = model.alpha.dtype
    chosen = jnp.ones(count, jnp.bool_) if valid is None else valid
    free = model.role == FREE
    # The n-th valid sample takes the n-th free slot; K, outside, stands for none.
    slots = jnp.argsort(~free, stable=True)
    number = jnp.cumsum(chosen) - 1
    room = chosen & (number < free.sum())
    capacity = model.alpha.shape[0]
    slot = jnp.where(room, slots[jnp.clip(number, 0, capacity - 1)], capacity)

    def put(into: Array, values: Array) -> Array:
        return into.at[slot].set(values, mode="drop")

    stored = put(model.features, features)
    products = jnp.matmul(features, stored.T, precision="highest")
    gram = put(model.gram, products)
    gram = gram.T.at[slot].set(products, mode="drop").T
    return _solve(
        model._replace(
            features=stored,
            gram=gram,
            labels=put(model.labels, labels.astype(dtype)),
            bound=put(model.bound, jnp.broadcast_to(jnp.asarray(bound, dtype), (count,))),
            alpha=put(model.alpha, jnp.zeros(count, dtype)),
            jitter=put(model.jitter, jnp.zeros(count, dtype)),
            role=put(model.role, jnp.full(count, WAITING, jnp.int32)),
        ),
        implicit,
    )


def remove(model: Model, which: Array, *, implicit: bool = False) -> Model:
    """Unlearns samples: the optimum over the others.

    Args:
      model: the machine.
      which: [K] bool, of the slots.
      implicit: as of `add`.
    """
    stored = which & (model.role != FREE)
    role = jnp.where(stored, jnp.where(model.role == RESERVE, FREE, LEAVING), model.role)
    return _solve(model._replace(role=role), implicit)


def shrink(model: Model, budget: int | Array, keep: Array | None = None, *, implicit: bool = False) -> Model:
    """Unlearns what matters least until no more than `budget` samples are held.

    Samples in reserve go first, those farthest from the margin before others: the optimum does not change.
    Then go those of the smallest multiplier.

    Args:
      model: the machine.
      budget: how many samples may stay.
      keep: [K] bool, slots that are never given up.
      implicit: as of `add`. Which samples go is a constant of the derivative.
    """
    held = model.role != FREE
    spare = model.role == RESERVE
    # Larger is more dispensable: all in reserve (1 + g / (1 + g) of 1..2) before the others (below 1).
    far = jnp.maximum(margins(model), 0.0)
    ease = jnp.where(spare, 1 + far / (1 + far), 1 - model.alpha / jnp.maximum(model.bound, 1e-30))
    loose = held if keep is None else held & ~keep
    rank = jnp.argsort(jnp.argsort(jnp.where(loose, -ease, jnp.inf), stable=True))
    return remove(model, loose & (rank < held.sum() - budget), implicit=implicit)


def weights(model: Model) -> Array:
    """Returns w = sum a y x, [D]."""
    return jnp.matmul(model.alpha * model.labels, model.features, precision="highest")


def decide(model: Model, features: Array) -> Array:
    """f(x) = w' x + b of features [N, D]: positive for the target, [N]."""
    return jnp.matmul(features, weights(model), precision="highest") + model.bias


def margins(model: Model) -> Array:
    """g_i = y_i f(x_i) - 1 of the stored samples, [K]; without meaning in free slots."""
    scores = jnp.matmul(model.gram, model.alpha * model.labels, precision="highest") + model.bias
    return model.labels * scores - 1


def kkt_residual(model: Model) -> Array:
    """How far the conditions of optimality are missed, () >= 0: by g, by the bounds or by sum y a = 0."""
    g = margins(model)
    low, high = model.alpha <= 0, model.alpha >= model.bound
    wrong = jnp.where(low, jnp.maximum(-g, 0), jnp.where(high, jnp.maximum(g, 0), jnp.abs(g)))
    outside = jnp.maximum(jnp.maximum(-model.alpha, model.alpha - model.bound), 0)
    used = model.role != FREE
    worst = jnp.where(used, jnp.maximum(wrong, outside), 0).max()
    return jnp.maximum(worst, jnp.abs(jnp.sum(model.labels * model.alpha)))


class _Problem(NamedTuple):
    """What stays as it is along the path."""

    kernel: Array  # [K, K] Q
    labels: Array  # [K] y
    bound: Array  # [K] C


def _solve(model: Model, implicit: bool) -> Model:
    """Takes waiting samples in and leaving ones out."""
    if implicit:
        return _differentiated(model, _solve(lax.stop_gradient(model), False))
    labels = model.labels
    problem = _Problem(model.gram * labels[:, None] * labels[None, :], labels, model.bound)
    size = labels.shape[0]
    start = _Path(
        alpha=model.alpha,
        bias=model.bias,
        gradient=jnp.zeros_like(model.alpha),
        role=model.role,
        inverse=jnp.zeros((size + 1, size + 1), labels.dtype),
        jitter=model.jitter,
        steps=jnp.zeros((), jnp.int32),
    )

    # One settling and one walk in the program, whatever the number of rounds: they take long to compile.
    def goes_on(carry: tuple[_Path, Array, Array]) -> Array:
        _, rounds, again = carry
        return again & (rounds < ROUNDS)

    def once(carry: tuple[_Path, Array, Array]) -> tuple[_Path, Array, Array]:
        path, rounds, _ = carry
        path = _settle(problem, path)
        return _walk(problem, path), rounds + 1, _open(path.role).any()

    path, _, _ = lax.while_loop(goes_on, once, (start, jnp.zeros((), jnp.int32), jnp.ones((), jnp.bool_)))
    # What a path given up has left open is called by where it stands.
    stands = jnp.where(path.alpha <= 0, RESERVE, jnp.where(path.alpha >= model.bound, ERROR, MARGIN))
    role = jnp.where(_open(path.role), stands, path.role)
    return model._replace(alpha=path.alpha, bias=path.bias, role=role, jitter=path.jitter)


def _differentiated(model: Model, solved: Model) -> Model:
    """The optimum, as a function of the samples and bounds of a machine before it was solved.

    With the kinds of samples given, multipliers and bias solve the linear system of `_margin_system`: its
    derivative is the optimum's, by the implicit function theorem. The values stay those of the path.
    """
    labels = model.labels
    problem = _Problem(model.gram * labels[:, None] * labels[None, :], labels, model.bound)
    margin = solved.role == MARGIN
    alpha = jnp.where(solved.role == ERROR, model.bound, 0)
    plain, right, used = _margin_system(problem, alpha, margin)
    jitter = jnp.concatenate([jnp.zeros(1, alpha.dtype), solved.jitter])
    solution = jnp.linalg.solve(plain + jnp.diag(jnp.where(used, jitter, 1)), right)
    alpha = jnp.where(margin, solution[1:], alpha)
    bias = jnp.where(margin.any(), solution[0], solved.bias)

    def with_derivative(value: Array, function: Array) -> Array:
        return lax.stop_gradient(value) + (function - lax.stop_gradient(function))

    return solved._replace(
        features=model.features,
        labels=labels,
        gram=model.gram,
        bound=model.bound,
        alpha=with_derivative(solved.alpha, alpha),
        bias=with_derivative(solved.bias, bias),
    )


def _margin_system(problem: _Problem, alpha: Array, margin: Array) -> tuple[Array, Array, Array]:
    """What the margin's multipliers and the bias solve: g = 0 on the margin and sum y a = 0.

    Args:
      problem: samples and bounds.
      alpha: [K] of those outside the margin.
      margin: [K] bool.

    Returns:
      The matrix [1 + K, 1 + K] and the right side [1 + K], both 0 outside the margin, and which rows count
      [1 + K] bool. The first row is that of the bias.
    """
    used = jnp.concatenate([margin.any()[None], margin])
    inside = margin.astype(problem.labels.dtype)
    border = problem.labels * inside
    block = problem.kernel * inside[:, None] * inside[None, :]
    matrix = jnp.block([[jnp.zeros((1, 1), border.dtype), border[None]], [border[:, None], block]])
    fixed = jnp.where(margin, 0, alpha)
    right = jnp.concatenate([-_dot(problem.labels, fixed)[None], 1 - _dot(problem.kernel, fixed)])
    return matrix, jnp.where(used, right, 0), used


def _open(role: Array) -> Array:
    return role > ERROR


def _settle(problem: _Problem, path: _Path) -> _Path:
    """Solves for the margin exactly, the other multipliers held; what then violates its kind has to wait."""

    def solve(carry: tuple[_Path, Array]) -> tuple[_Path, Array]:
        path = _solve_margin(problem, carry[0])
        margin = path.role == MARGIN
        slack = _tolerance(problem, path.alpha) * problem.bound
        below = margin & (path.alpha < -slack)
        above = margin & (path.alpha > problem.bound + slack)
        role = jnp.where(below, RESERVE, jnp.where(above, ERROR, path.role))
        alpha = jnp.where(below, 0, jnp.where(above, problem.bound, path.alpha))
        return path._replace(role=role, alpha=alpha), (below | above).any()

    # Whoever is out of bounds does not belong to the margin, which shrinks until nobody is.
    path, _ = lax.while_loop(lambda carry: carry[1], solve, (path, jnp.ones((), jnp.bool_)))
    alpha = jnp.clip(path.alpha, 0, problem.bound)
    g = _gradient(problem, alpha, path.bias)
    violation = _violation(problem, path._replace(alpha=alpha, gradient=g))
    wrong = violation > _tolerance(problem, alpha)
    resting = (path.role == RESERVE) | (path.role == ERROR) | (path.role == WAITING)
    at = jnp.where(alpha <= 0, RESERVE, ERROR)
    role = jnp.where(resting, jnp.where(wrong, WAITING, at), path.role)
    margin = role == MARGIN
    return path._replace(alpha=alpha, gradient=jnp.where(margin, 0, g), role=role)


def _solve_margin(problem: _Problem, path: _Path) -> _Path:
    """The margin's multipliers and the bias from g = 0 and sum y a = 0; also the bordered matrix's inverse.

    Rounding may hide that a sample depends on others when it joins: where no solution comes out, every sample
    on the margin gets jitter.
    """
    margin = path.role == MARGIN
    plain, right, used = _margin_system(problem, path.alpha, margin)
    least = _singular(jnp.diagonal(problem.kernel))

    def attempt(
        tried: tuple[Array, Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array, Array]:
        _, _, _, jitter, count = tried
        jitter = jnp.where(margin & (count > 0), jnp.maximum(10 * jitter, least), jitter)
        diagonal = jnp.concatenate([jnp.zeros(1, jitter.dtype), jitter])
        matrix = plain + jnp.diag(jnp.where(used, diagonal, 1))
        inverse = jnp.where(used[:, None] & used[None], jnp.linalg.inv(matrix), 0)
        solution = _dot(inverse, right)
        for _ in range(3):
            solution = solution + _dot(inverse, right - _dot(matrix, solution))
        miss = jnp.abs(right - _dot(matrix, solution)).max()
        good = miss <= 100 * _tolerance(problem, solution[1:])  # false also where nothing is finite
        return inverse, solution, good, jitter, count + 1

    jitter = jnp.where(margin, path.jitter, 0)
    first = plain, right, jnp.zeros((), jnp.bool_), jitter, jnp.zeros((), jnp.int32)
    inverse, solution, _, jitter, _ = lax.while_loop(lambda tried: ~tried[2] & (tried[4] < 5), attempt, first)
    return path._replace(
        alpha=jnp.where(margin, solution[1:], path.alpha),
        bias=jnp.where(margin.any(), solution[0], path.bias),
        inverse=inverse,
        jitter=jitter,
    )


def _walk(problem: _Problem, path: _Path) -> _Path:
    """Follows the path until nothing waits or leaves."""
    limit = STEPS * problem.labels.shape[0]

    def goes_on(path: _Path) -> Array:
        moving = path.role >= RISING
        wrong = (path.role == WAITING) & (_violation(problem, path) > _tolerance(problem, path.alpha))
        return (moving | wrong).any() & (path.steps < limit)

    def advance(path: _Path) -> _Path:
        return _advance(problem, path)

    return lax.while_loop(goes_on, advance, path._replace(steps=jnp.zeros((), jnp.int32)))


def _begin(problem: _Problem, path: _Path) -> Array:
    """The roles [K], where the worst of those that wait begins when no other is under way."""
    violation = jnp.where(path.role == WAITING, _violation(problem, path), -1)
    first = jnp.arange(path.role.shape[0]) == jnp.argmax(violation)
    begins = first & ~(path.role >= RISING).any()
    return jnp.where(begins, jnp.where(path.gradient < 0, RISING, FALLING), path.role)


class _Course(NamedTuple):
    """Where a path goes: the changes in a step of 1."""

    alpha: Array  # [K]
    gradient: Array  # [K], 0 on the margin
    bias: Array  # ()
    slides: Array  # () bool: only the bias moves, for any distance
    arrived: Array  # () bool: nothing is left to do


def _course(problem: _Problem, path: _Path) -> _Course:
    """What moves goes to its target in a step of 1; the margin follows so that its g stays 0."""
    kernel, labels, bound = problem
    margin = path.role == MARGIN
    some = margin.any()
    driven = jnp.where(path.role >= RISING, jnp.where(path.role == RISING, bound, 0) - path.alpha, 0)
    # One that is a rounding error away from its target is there: or another at its bound would flicker.
    arrived = jnp.all(jnp.abs(driven) <= 8 * jnp.finfo(driven.dtype).eps * bound)
    charge = _dot(labels, driven)

    def change(follow: Array) -> Array:
        jitter = jnp.where(margin, path.jitter, 0)
        return _dot(kernel, driven + follow[1:]) + jitter * follow[1:] + labels * follow[0]

    def miss(follow: Array) -> Array:
        balance = charge + _dot(labels, follow[1:])
        return jnp.where(some, jnp.concatenate([balance[None], jnp.where(margin, change(follow), 0)]), 0)

    follow = -_dot(path.inverse, miss(jnp.zeros(driven.shape[0] + 1, driven.dtype)))
    follow = follow - _dot(path.inverse, miss(follow))
    # With none on the margin only the bias can make room for a change of sum y a.
    slides = ~some & ~arrived & (jnp.abs(charge) > 1e-6 * jnp.max(bound))
    driven = jnp.where(slides, 0, driven)
    follow = jnp.where(slides, jnp.zeros_like(follow).at[0].set(jnp.sign(charge)), follow)
    dg = change(follow)
    da = jnp.where(margin, follow[1:], driven)
    # What moves no faster than rounding goes nowhere: samples that depend on those of the margin.
    scale = jnp.diagonal(kernel).max() * jnp.abs(da).max() + jnp.abs(follow[0])
    noise = 10 * jnp.abs(jnp.where(margin, dg, 0)).max() + 50 * jnp.finfo(dg.dtype).eps * scale
    dg = jnp.where(margin | (jnp.abs(dg) <= noise), 0, dg)
    return _Course(da, dg, follow[0], slides, arrived)


def _advance(problem: _Problem, path: _Path) -> _Path:
    """One step: up to the next change of kind."""
    bound = problem.bound
    role = _begin(problem, path)
    da, dg, db, slides, arrived = _course(problem, path._replace(role=role))
    alpha, g = path.alpha, path.gradient
    margin, moving = role == MARGIN, role >= RISING

    # How far to go: until one on the margin reaches a bound, another's g reaches 0, or all is done.
    never = jnp.asarray(jnp.inf, alpha.dtype)
    to_bound = jnp.where(da < 0, -alpha, bound - alpha) / jnp.where(da == 0, 1, da)
    to_bound = jnp.where(margin & (da != 0), jnp.maximum(to_bound, 0), never)
    meets = ((role == ERROR) | (role == RISING)) & (dg > 0) | ((role == RESERVE) | (role == FALLING)) & (
        dg < 0
    )
    to_margin = jnp.where(meets, jnp.maximum(-g / jnp.where(dg == 0, 1, dg), 0), never)
    distance = jnp.minimum(to_bound, to_margin)
    event = jnp.argmin(distance)
    end = jnp.where(slides, never, 1)
    ends = arrived | (distance[event] >= end)
    step = jnp.where(arrived, 0, jnp.minimum(distance[event], end))
    stuck = ~jnp.isfinite(step)
    step = jnp.where(stuck, 0, step)

    alpha = jnp.clip(alpha + step * da, 0, bound)
    g = g + step * dg
    bias = path.bias + step * db
    done = moving & (ends | stuck)
    target = jnp.where(role == RISING, bound, 0)
    alpha = jnp.where(done & ~stuck, target, alpha)
    role = jnp.where(done, jnp.where(role == LEAVING, FREE, jnp.where(target > 0, ERROR, RESERVE)), role)
    here = (jnp.arange(alpha.shape[0]) == event) & ~(ends | stuck)
    leaves, joins = here & margin, here & ~margin
    low = da < 0
    alpha = jnp.where(leaves, jnp.where(low, 0, bound), alpha)
    role = jnp.where(leaves, jnp.where(low, RESERVE, ERROR), jnp.where(joins, MARGIN, role))
    g = jnp.where(here, 0, g)
    inverse, pivot = _exchange(problem, path.inverse, margin, event, joins.any(), leaves.any())
    jitter = jnp.where(joins, pivot, jnp.where(margin, path.jitter, 0))
    return _Path(alpha, bias, g, role, inverse, jitter, path.steps + 1)


def _exchange(
    problem: _Problem, inverse: Array, margin: Array, event: Array, joins: Array, leaves: Array
) -> tuple[Array, Array]:
    """The inverse after one sample has joined or left the margin, and the jitter that joining took."""
    kernel, labels, _ = problem
    used = jnp.concatenate([margin.any()[None], margin])
    column = jnp.concatenate([labels[event][None], kernel[:, event]])
    own = kernel[event, event]
    answer = -_dot(inverse, jnp.where(used, column, 0))
    pivot = own + _dot(jnp.where(used, column, 0), answer)
    least = _singular(own)
    jitter = jnp.where(margin.any() & (pivot < least), least, 0)
    pivot = jnp.where(jitter > 0, jnp.maximum(pivot, 0) + jitter, pivot)
    indicator = (jnp.arange(inverse.shape[0]) == event + 1).astype(inverse.dtype)
    row = inverse[event + 1]
    # Joining adds z z' / pivot, leaving takes r r' / R_ee away.
    vector = jnp.where(joins, answer + indicator, row)
    factor = jnp.where(joins, 1 / pivot, -1 / jnp.where(row[event + 1] == 0, 1, row[event + 1]))
    factor = jnp.where(joins | leaves, factor, 0)
    grown = inverse + factor * vector[:, None] * vector[None, :]
    # The first on the margin: the inverse of [[0, y], [y, Q]] is [[-Q, y], [y, 0]].
    top = (jnp.arange(inverse.shape[0]) == 0).astype(inverse.dtype)
    cross = top[:, None] * indicator[None, :]
    alone = labels[event] * (cross + cross.T) - own * top[:, None] * top[None, :]
    grown = jnp.where(joins & ~margin.any(), alone, grown)
    remains = jnp.where(leaves, margin & (jnp.arange(margin.shape[0]) != event), margin | joins).any()
    gone = leaves & ((jnp.arange(inverse.shape[0]) == event + 1) | ~remains)
    return jnp.where(gone[:, None] | gone[None, :], 0, grown), jitter


# A sample joins the margin with jitter when what it adds is below this share of its own square: its features
# are then a combination of the margin's.
_SINGULAR = {"float32": 1e-5, "float64": 1e-11}


def _singular(square: Array) -> Array:
    return _SINGULAR[str(square.dtype)] * jnp.maximum(square, jnp.finfo(square.dtype).eps)


def _violation(problem: _Problem, path: _Path) -> Array:
    """How far g is on the wrong side of 0 for where a stands, [K]; negative where it is on the right side."""
    low, high = path.alpha <= 0, path.alpha >= problem.bound
    return jnp.where(low, -path.gradient, jnp.where(high, path.gradient, jnp.abs(path.gradient)))


def _gradient(problem: _Problem, alpha: Array, bias: Array) -> Array:
    return _dot(problem.kernel, alpha) + problem.labels * bias - 1


def _tolerance(problem: _Problem, alpha: Array) -> Array:
    """What rounding does to g, whose terms are at most the product of the largest square and multiplier."""
    scale = 1 + jnp.diagonal(problem.kernel).max() * jnp.abs(alpha).max()
    return 8 * jnp.finfo(alpha.dtype).eps * scale


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
