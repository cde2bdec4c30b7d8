"""The incremental machine against libsvm and against the conditions of optimality, computed in NumPy."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import incremental_svm as svm

add = jax.jit(svm.add)
remove = jax.jit(svm.remove)
shrink = jax.jit(svm.shrink)


def data(seed, count, size, *, gap=0.5, share=0.4):
    """Two overlapping clouds of mean square norm about 1."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(count) < share, 1.0, -1.0)
    labels[:2] = 1, -1
    features = rng.standard_normal((count, size)) / np.sqrt(size)
    features[:, 0] += gap * labels
    return features.astype(np.float32).astype(np.float64), labels


def held(model):
    """What is stored, as NumPy float64: features, labels, bounds, multipliers."""
    used = np.asarray(model.role) != svm.FREE
    parts = model.features, model.labels, model.bound, model.alpha
    return [np.asarray(part, np.float64)[used] for part in parts]


def residual(model):
    """The largest violation of the conditions of optimality over what is stored, from its raw features."""
    features, labels, bound, alpha = held(model)
    if not len(alpha):
        return 0.0
    g = labels * (features @ (features.T @ (alpha * labels)) + float(model.bias)) - 1
    wrong = np.where(alpha <= 0, np.maximum(-g, 0), np.where(alpha >= bound, np.maximum(g, 0), np.abs(g)))
    assert (alpha >= 0).all() and (alpha <= bound).all(), (alpha.min(), (alpha - bound).max())
    return max(wrong.max(), abs(labels @ alpha))


def batch(features, labels, cost):
    """w, b and whether b is determined, by libsvm; the error of its float32 kernel taken out."""
    svc = pytest.importorskip("sklearn.svm").SVC(kernel="linear", C=cost, tol=1e-10, max_iter=300_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        svc.fit(features, labels)
    alpha = np.zeros(len(labels))
    alpha[svc.support_] = np.abs(svc.dual_coef_[0])
    margin = (alpha > 1e-6 * cost) & (alpha < (1 - 1e-6) * cost)
    alpha = np.where(margin, alpha, np.where(alpha > cost / 2, cost, 0))
    if not margin.any():
        return svc.coef_[0], svc.intercept_[0], False
    signed = features * labels[:, None]
    fixed = np.where(margin, 0, alpha)
    matrix = np.block(
        [[np.zeros((1, 1)), labels[None, margin]], [labels[margin, None], signed[margin] @ signed[margin].T]]
    )
    right = np.append(-labels @ fixed, 1 - signed[margin] @ (signed.T @ fixed))
    solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    alpha[margin] = solution[1:]
    return signed.T @ alpha, solution[0], True


def padded(features):
    """With zeros up to a multiple of 64 values: few shapes, few compilations."""
    return np.pad(features, ((0, 0), (0, -features.shape[1] % 64)))


def learn(model, features, labels, cost, chunk=20):
    """Adds samples in chunks of one shape."""
    dtype = str(model.alpha.dtype)
    for start in range(0, len(labels), chunk):
        x, y = padded(features[start : start + chunk]), labels[start : start + chunk]
        missing = chunk - len(y)
        x, y = np.pad(x, ((0, missing), (0, 0))), np.pad(y, (0, missing), constant_values=1)
        valid = jnp.arange(chunk) < chunk - missing
        cost_ = jnp.asarray(cost, dtype)
        model = add(model, jnp.asarray(x, dtype), jnp.asarray(y, dtype), cost_, valid)
    return model


def learnt(features, labels, cost, *, capacity=130, dtype="float32", chunk=20):
    return learn(svm.empty(capacity, padded(features).shape[1], dtype), features, labels, cost, chunk)


def check(model, cost, tolerance):
    """The model against the batch solution on what it holds."""
    features, labels, _, _ = held(model)
    w, b, determined = batch(features, labels, cost)
    np.testing.assert_allclose(svm.weights(model), w, atol=tolerance * np.abs(w).max())
    if determined:
        assert float(model.bias) == pytest.approx(b, abs=tolerance * (1 + abs(b)))
    assert residual(model) < tolerance
    assert float(svm.kkt_residual(model)) < tolerance


CASES = [(50, 20, 1.0, 0.5), (60, 4, 0.3, 0.2), (120, 300, 10.0, 0.5), (120, 40, 100.0, 1.0)]


@pytest.mark.parametrize(("count", "size", "cost", "gap"), CASES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_additions_and_removals_equal_the_batch_solution(count, size, cost, gap, dtype):
    features, labels = data(count, count, size, gap=gap)
    tolerance = 1e-5 if dtype == "float32" else 1e-9
    with jax.enable_x64(dtype == "float64"):
        model = learnt(features, labels, cost, dtype=dtype)
        check(model, cost, tolerance)
        rng = np.random.default_rng(1)
        for share in (0.1, 0.5):
            model = remove(model, jnp.asarray(rng.random(130) < share))
            check(model, cost, tolerance)
        model = learn(model, features[:20], labels[:20], cost)
        check(model, cost, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large(dtype):
    """500 samples of 4096 values, as from fc6: mostly positive, of mean norm 1."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(500) < 0.2, 1.0, -1.0)
    parts = np.maximum(rng.standard_normal((2, 30, 4096)), 0)
    mixture = rng.dirichlet(np.full(30, 0.2), 500)
    features = np.einsum("nk,nkd->nd", mixture, parts[(labels > 0).astype(int)]) + 0.3 * parts.mean((0, 1))
    features = np.maximum(features + 0.3 * rng.standard_normal((500, 4096)), 0)
    features = (features / np.linalg.norm(features, axis=1).mean()).astype(np.float32).astype(np.float64)
    with jax.enable_x64(dtype == "float64"):
        model = learnt(features, labels, 10.0, capacity=500, dtype=dtype, chunk=100)
        check(model, 10.0, 1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_duplicates_and_dependent_samples(dtype):
    """More samples on the margin than dimensions, every sample three times, also with the other label."""
    features, labels = data(3, 24, 3)
    features, labels = np.tile(features, (3, 1)), np.tile(labels, 3)
    labels[60:] *= -1
    with jax.enable_x64(dtype == "float64"):
        for cost in (0.5, 5.0):
            model = learnt(features, labels, cost, dtype=dtype)
            assert residual(model) < (1e-4 if dtype == "float32" else 1e-9)
            model = remove(model, jnp.arange(130) % 3 == 0)
            assert residual(model) < (1e-4 if dtype == "float32" else 1e-9)


@pytest.mark.slow
def test_any_order_of_additions_removals_and_evictions():
    rng = np.random.default_rng(4)
    features, labels = data(4, 400, 50)
    with jax.enable_x64(True):
        model = svm.empty(130, 64, "float64")
        for start in range(0, 400, 20):
            part = slice(start, start + 20)
            model = learn(model, features[part], labels[part], 2.0)
            assert residual(model) < 1e-9
            if start % 60 == 40:
                model = remove(model, jnp.asarray(rng.random(130) < 0.2))
                assert residual(model) < 1e-9
            model = shrink(model, 100)
            assert residual(model) < 1e-9 and (np.asarray(model.role) != svm.FREE).sum() <= 100
        check(model, 2.0, 1e-9)


def test_the_derivative_of_the_optimum_is_that_of_its_conditions():
    """Against central differences, through additions and evictions, with samples of every kind."""
    features, labels = data(6, 40, 6)
    probe = np.random.default_rng(7).normal(size=(5, 6))

    def decided(features, cost):
        model = svm.empty(40, 6, "float64")
        for part in (slice(0, 24), slice(24, 40)):
            model = svm.add(model, features[part], jnp.asarray(labels[part]), cost, implicit=True)
            model = svm.shrink(model, 30, implicit=True)
        return jnp.sum(svm.decide(model, jnp.asarray(probe)) ** 2), model

    with jax.enable_x64(True):
        where = jnp.asarray(features), jnp.asarray(1.5)
        (value, model), slopes = jax.jit(jax.value_and_grad(decided, argnums=(0, 1), has_aux=True))(*where)
        kinds = np.bincount(np.asarray(model.role), minlength=4)
        assert kinds[svm.MARGIN] and kinds[svm.ERROR] and kinds[svm.RESERVE] and kinds[svm.FREE]
        assert residual(model) < 1e-9
        run = jax.jit(lambda *args: decided(*args)[0])
        assert float(run(*where)) == pytest.approx(float(value))
        rng, step = np.random.default_rng(8), 1e-6
        for along in (
            *((rng.normal(size=features.shape), 0.0) for _ in range(5)),
            (np.zeros_like(features), 1.0),
        ):
            ends = [run(where[0] + s * step * along[0], where[1] + s * step * along[1]) for s in (1, -1)]
            derivative = float(jnp.vdot(slopes[0], along[0]) + slopes[1] * along[1])
            assert derivative == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-7)


def test_the_implicit_optimum_is_the_same_number():
    features, labels = data(9, 60, 10)
    empty = svm.empty(60, 10)
    one, other = (
        jax.jit(functools.partial(svm.add, implicit=implicit))(
            empty, jnp.float32(features), jnp.float32(labels), 1.0
        )
        for implicit in (True, False)
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_order_of_additions_does_not_matter():
    features, labels = data(5, 60, 10)
    one = learnt(features, labels, 1.0)
    other = learnt(features[::-1], labels[::-1], 1.0)
    np.testing.assert_allclose(svm.weights(one), svm.weights(other), atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_single_class_has_no_plane_and_says_that_class_everywhere(sign):
    features, _ = data(6, 10, 5)
    model = learnt(features, np.full(10, sign), 1.0)
    np.testing.assert_array_equal(svm.weights(model), 0)
    np.testing.assert_allclose(svm.decide(model, jnp.asarray(padded(features), jnp.float32)), sign, atol=1e-6)
    assert residual(model) == 0
    other, _ = data(7, 10, 5)
    model = learn(model, other, np.full(10, -sign), 1.0)
    check(model, 1.0, 1e-5)
    # ... and back to a single class.
    model = remove(model, model.labels == sign)
    np.testing.assert_allclose(svm.weights(model), 0, atol=1e-5)
    assert residual(model) < 1e-5


def test_learning_and_unlearning_returns_to_the_start():
    features, labels = data(8, 60, 10)
    before = learnt(features[:40], labels[:40], 1.0)
    after = remove(learn(before, features[40:], labels[40:], 1.0), jnp.arange(130) >= 40)
    np.testing.assert_allclose(svm.weights(after), svm.weights(before), atol=1e-6)
    np.testing.assert_allclose(after.bias, before.bias, atol=1e-6)


def test_samples_in_reserve_change_nothing():
    features, labels = data(9, 60, 10)
    model = learnt(features, labels, 1.0)
    spare = np.asarray(model.role) == svm.RESERVE
    assert spare.any()
    w = np.asarray(svm.weights(model))
    np.testing.assert_allclose(svm.weights(remove(model, jnp.asarray(spare))), w, atol=1e-6)
    easy = features[:1] + 30 * labels[0] * w[: features.shape[1]]  # far on the right side
    with_easy = learn(model, easy, labels[:1], 1.0)
    np.testing.assert_allclose(svm.weights(with_easy), w, atol=1e-6)
    assert int(with_easy.role[60]) == svm.RESERVE


def test_scaled_features_with_the_cost_scaled_back_are_the_same_machine():
    features, labels = data(10, 60, 10)
    raw = learnt(features, labels, 2.0 * 0.25)
    scaled = learnt(0.5 * features, labels, 2.0)
    np.testing.assert_allclose(svm.weights(raw), 0.5 * svm.weights(scaled), atol=1e-5)


def test_each_sample_has_its_own_bound():
    features, labels = data(11, 50, 4, gap=0.1)
    bound = np.where(labels > 0, 3.0, 0.5)
    model = add(svm.empty(50, 4), *(jnp.asarray(x, jnp.float32) for x in (features, labels, bound)))
    assert residual(model) < 1e-5
    assert float(model.alpha.max()) > 0.5


def test_shrink_gives_up_the_reserve_first_and_never_what_is_kept():
    features, labels = data(12, 60, 6)
    model = learnt(features, labels, 1.0)
    spare = np.asarray(model.role) == svm.RESERVE
    first = int(np.flatnonzero(spare)[0])
    margins = np.asarray(svm.margins(model))
    budget = 60 - int(spare.sum()) + 5
    smaller = shrink(model, budget, jnp.arange(130) == first)
    left = np.asarray(smaller.role) != svm.FREE
    assert left.sum() == budget and left[:60][~spare[:60]].all() and left[first]
    others = spare & (np.arange(130) != first)
    assert margins[others & left].max() <= margins[others & ~left].min()
    np.testing.assert_allclose(svm.weights(smaller), svm.weights(model), atol=1e-6)
    tiny = shrink(model, 10, jnp.arange(130) == first)
    assert (np.asarray(tiny.role) != svm.FREE).sum() == 10 and int(tiny.role[first]) != svm.FREE
    assert residual(tiny) < 1e-5


def test_what_is_not_valid_or_has_no_room_is_not_learnt():
    features, labels = data(13, 30, 5)
    x, y = jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.float32)
    work = jax.jit(svm.add)
    valid = jnp.arange(10) % 2 == 0
    some = work(svm.empty(10, 5), x[:10], y[:10], 1.0, valid)
    only = learnt(features[:10:2], labels[:10:2], 1.0)
    np.testing.assert_allclose(svm.weights(some), svm.weights(only)[:5], atol=1e-6)
    full = work(svm.empty(10, 5), x[:10], y[:10], 1.0, valid | True)
    more = work(full, x[10:20], y[10:20], 1.0, valid | True)
    np.testing.assert_allclose(svm.weights(more), svm.weights(full), atol=1e-6)
    none = work(some, x[10:20], y[10:20], 1.0, valid & False)
    np.testing.assert_allclose(svm.weights(none), svm.weights(some), atol=1e-6)


def test_lanes_equal_the_loop():
    sets = [data(20 + lane, 40, 8) for lane in range(4)]
    x = jnp.asarray(np.stack([features for features, _ in sets]), jnp.float32)
    y = jnp.asarray(np.stack([labels for _, labels in sets]), jnp.float32)
    lanes = jax.jit(jax.vmap(functools.partial(svm.add, svm.empty(50, 8), bound=1.0)))(x, y)
    for lane in range(4):
        single = add(svm.empty(50, 8), x[lane], y[lane], 1.0)
        np.testing.assert_allclose(lanes.alpha[lane], single.alpha, atol=1e-5)
        np.testing.assert_allclose(lanes.bias[lane], single.bias, atol=1e-5)


def test_nothing_compiles_twice():
    features, labels = data(14, 40, 5)
    model = learnt(features, labels, 1.0)
    before = add._cache_size()
    learn(model, *data(15, 37, 7), 2.0)
    assert add._cache_size() == before
