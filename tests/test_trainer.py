"""The trainer against its parts, over threads, and what training must and must not do to a network."""

import gc
import tracemalloc
import warnings

import numba
import numpy as np
import pytest
from conftest import make_problem

import eirnn_np as ei
from eirnn_np import noise, tasks
from eirnn_np.compiled import make_workspace
from eirnn_np.trainer import RunError


def bits(params):
    return params.flat.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"dynamics": "brainpy"}, {"train_x0": True}, {"loss": "squared_error"}])
def test_a_step_is_noise_gradients_and_adam_to_the_bit(options, dtype):
    """Batches of four shapes in turn: each is another workspace, none starts the count or the moments anew."""
    problems = [make_problem(*size, dtype=dtype, seed=7, **options) for size in ((11, 3), (5, 9), (1, 1), (4, 17))]
    config, params = problems[0].config, problems[0].params
    mine, adam = params.copy(), ei.Adam(0.01)
    trainer = ei.Trainer(config, params, lr=0.01, seed=5)
    for k in range(8):
        p = problems[k % 4]
        noise = ei.recurrent_noise(config, 5, k, *p.inputs.shape[:2], dtype)
        loss, grads = ei.loss_and_grads(config, mine, p.inputs, p.labels, noise)
        adam.update(mine, grads)
        assert trainer.step(p.inputs, p.labels) == loss
        assert bits(params) == bits(mine)
        assert trainer.k == k + 1


def test_weights_of_a_step_are_those_of_the_loss(problem):
    weights = np.random.default_rng(0).random((11, 3))
    mine, adam = problem.params.copy(), ei.Adam(0.01)
    trainer = ei.Trainer(problem.config, problem.params, lr=0.01, seed=3)
    noise = ei.recurrent_noise(problem.config, 3, 0, 11, 3, "float64")
    loss, grads = ei.loss_and_grads(problem.config, mine, problem.inputs, problem.labels, noise, weights)
    adam.update(mine, grads)
    assert trainer.step(problem.inputs, problem.labels, weights) == loss
    assert bits(problem.params) == bits(mine)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(dtype):
    before, results = numba.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 4):
            numba.set_num_threads(5 - threads)  # the caller's own number, which a step must not change
            problem = make_problem(n_time=20, n_batch=45, n_hidden=50, dtype=dtype)
            trainer = ei.Trainer(problem.config, problem.params, lr=0.01, threads=threads)
            losses = [trainer.step(problem.inputs, problem.labels) for _ in range(6)]
            results.add((tuple(losses), bits(problem.params)))
            assert numba.get_num_threads() == 5 - threads
    finally:
        numba.set_num_threads(before)
    assert len(results) == 1


def test_compiling_changes_nothing():
    problem, other = make_problem(dtype="float32"), make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params)
    trainer.compile(11, 3)
    assert (trainer.k, bits(problem.params)) == (0, bits(other.params))
    losses = [t.step(problem.inputs, problem.labels) for t in (trainer, ei.Trainer(other.config, other.params))]
    assert losses[0] == losses[1]
    assert bits(problem.params) == bits(other.params)


@pytest.mark.parametrize("e_ratio", [0.5, 0.8])
def test_dale_s_principle_holds_after_training(e_ratio):
    config = ei.ModelConfig(e_ratio=e_ratio)
    params = ei.init_params(config)
    start, trainer, batches = params.copy(), ei.Trainer(config, params, lr=0.05), ei.make_batches()
    for _ in range(60):
        trainer.step(*next(batches))
    crossed = np.sign(params.w_rec) != np.sign(start.w_rec)
    assert crossed.sum() > 100  # the raw numbers do pass through 0
    weights = ei.effective_weights(config, params)
    excitatory, inhibitory = weights[:, : config.n_exc], weights[:, config.n_exc :]
    assert (excitatory >= 0).all()
    assert (inhibitory <= 0).all()
    assert (np.diag(weights) == 0).all()
    np.testing.assert_array_equal(np.diag(params.w_rec), np.diag(start.w_rec))
    assert min(np.count_nonzero(excitatory), np.count_nonzero(inhibitory)) > 50
    assert np.count_nonzero(weights) == np.count_nonzero(params.w_rec) - 50


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learns_from_neurogym(seed):
    """Below 0.6 of the entropy of the labels, which no network gets under without using its inputs.

    A network whose output q does not depend on the input has the cross-entropy -sum_y p(y) ln q(y) with labels
    of frequencies p, and by Gibbs' inequality that is at least their entropy -sum_y p(y) ln p(y), which it has
    at q = p alone. An untrained network, whose q is no better than chance, is above it from the first step.
    (With lr 3e-3 the mean of the last 50 losses comes to 0.30-0.33 of the entropy; with 1e-3 it would to 0.65.)
    """
    config = ei.ModelConfig()
    trainer, batches = (
        ei.Trainer(config, ei.init_params(config, seed), lr=3e-3, seed=seed),
        ei.make_batches(seed=seed),
    )
    losses, counts = [], np.zeros(3)
    for _ in range(400):
        inputs, labels = next(batches)
        losses.append(trainer.step(inputs, labels))
        counts += np.bincount(labels.ravel(), minlength=3)
    p = counts / counts.sum()
    entropy = -(p * np.log(p)).sum()
    assert losses[0] > 1.5 * entropy
    assert np.mean(losses[-50:]) < 0.6 * entropy


def with_value(array, value, at):
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inputs", lambda u: with_value(u, np.nan, (10, 2, 1))),
        ("inputs", lambda u: with_value(u, -np.inf, (0, 0, 0))),
        ("inputs", lambda u: u[:, :, :1]),
        ("inputs", lambda u: u[:0]),
        ("inputs", lambda u: u[:, 0]),
        ("labels", lambda y: with_value(y, 4, (10, 2))),
        ("labels", lambda y: with_value(y, -1, (0, 0))),
        ("labels", lambda y: y.T),
        ("labels", lambda y: y + 0.5),
        ("weights", lambda w: with_value(w, np.nan, (3, 1))),
        ("weights", lambda w: with_value(w, -1, (3, 1))),
        ("weights", lambda w: 0 * w),
        *(
            (name, lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) == 5))
            for name in ("inputs", "labels", "weights")
        ),
    ],
)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("before", [0, 1])
def test_a_bad_batch_is_refused_and_nothing_changes(problem, name, change, weighted, before):
    """Without weights, the step itself looks at what stands in a batch."""
    if name == "weights" and not weighted:
        pytest.skip("there are none")
    other = make_problem()
    trainers = [ei.Trainer(p.config, p.params) for p in (problem, other)]
    batch = {"inputs": problem.inputs, "labels": problem.labels} | ({"weights": np.ones((11, 3))} if weighted else {})
    for trainer in trainers * before:
        trainer.step(**batch)
    with pytest.raises(ValueError, match=name), warnings.catch_warnings():
        warnings.simplefilter("error")
        trainers[0].step(**{**batch, name: change(batch[name])})
    assert (trainers[0].k, trainers[0].adam.k) == (before, before)
    assert (trainers[0].adam.m is None) == (before == 0)
    assert bits(problem.params) == bits(other.params)
    assert trainers[0].step(**batch) == trainers[1].step(**batch)  # and it goes on as if nothing had happened
    assert bits(problem.params) == bits(other.params)


def test_masked_labels_are_refused_also_where_weights_are_given(problem):
    """A masked step is not one of weight 0: NumPy drops the mask where a plain array is made."""
    masked, some = np.ma.masked_array(problem.labels, problem.labels == 1), np.ones((11, 3))
    some[4] = 0
    trainer = ei.Trainer(problem.config, problem.params)
    with pytest.raises(ValueError, match="labels must have no masked entries"):
        trainer.step(problem.inputs, masked, some)
    with pytest.raises(ValueError, match="labels must have no masked entries"):
        ei.train(trainer, iter([(problem.inputs, masked)]), 1, class_weights=np.arange(1, problem.config.n_out + 1))
    assert trainer.k == 0
    unmasked = np.ma.masked_array(problem.inputs, False), np.ma.masked_array(problem.labels, False)
    assert trainer.step(*unmasked) == ei.Trainer(problem.config, make_problem().params).step(*map(np.asarray, unmasked))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threads": 0}, "threads"), ({"threads": 10**6}, "threads"), ({"lr": 0}, "lr"), ({"lr": np.nan}, "lr")],
)
def test_bad_options(problem, options, message):
    with pytest.raises(ValueError, match=message):
        ei.Trainer(problem.config, problem.params, **options)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5])
def test_a_bad_seed_is_refused_before_a_step_is_counted(problem, seed):
    before = bits(problem.params)
    with pytest.raises(ValueError, match="seed"):
        ei.Trainer(problem.config, problem.params, seed=seed).step(problem.inputs, problem.labels)
    assert bits(problem.params) == before


def test_no_training_has_the_noise_of_another_use(problem):
    """The key of a draw is (low word, high word ^ use): all of them by hand."""
    uses = {"noise": 0, "start": noise.INIT_STREAM, "inputs": noise.INPUT_STREAM, "mask": noise.MASK_STREAM}
    measured = {tasks.evaluation_noise_seed(5), tasks.checking_noise_seed(5)}
    assert len(measured) == 2
    theirs = {noise.seed_key(seed, use) for seed in measured for use in uses.values()}
    theirs |= {noise.seed_key(5, use) for name, use in uses.items() if name != "noise"}  # of a run with that seed
    assert len(theirs) == 11
    for low, high in theirs:
        for make in (ei.Trainer, ei.GradientTrainer):
            with pytest.raises(ValueError, match="seed must not have 0x[0-9a-f]{6,8} as its upper half"):
                make(problem.config, problem.params, seed=high << 32 | low)
    for seed in (5, 2**32 - 1, 2**32, 2**64 - 1):
        ei.Trainer(problem.config, problem.params, seed=seed)
        assert noise.seed_key(seed) not in theirs


def test_params_of_another_network_are_refused(problem):
    with pytest.raises(ValueError, match="params do not fit config"):
        ei.Trainer(ei.ModelConfig(), problem.params)


# --- the loop --------------------------------------------------------------------------------------


def endless(problem):
    while True:
        yield problem.inputs, problem.labels


def test_the_loop_takes_steps_and_tells_of_each(problem):
    other, seen = make_problem(), []
    losses, seconds = ei.train(
        ei.Trainer(problem.config, problem.params),
        endless(problem),
        5,
        lambda k, loss: seen.append((k, loss)),
    )
    by_hand = ei.Trainer(other.config, other.params)
    expected = [by_hand.step(other.inputs, other.labels) for _ in range(5)]
    np.testing.assert_array_equal(losses, expected)
    assert seen == list(enumerate(expected, 1))
    assert bits(problem.params) == bits(other.params)
    assert set(seconds) == {"batches", "training"}
    assert min(seconds.values()) > 0


def test_batches_that_end_too_soon(problem):
    with pytest.raises(RunError, match="the batches ended after 1 of 3 steps"):
        ei.train(ei.Trainer(problem.config, problem.params), iter([(problem.inputs, problem.labels)]), 3)


@pytest.mark.parametrize(("dtype", "lr"), [("float32", 1e30), ("float64", 1e200)])
def test_a_loss_that_is_not_finite_stops_the_loop_and_leaves_the_parameters(dtype, lr):
    """`train` promises: "the step is named and the parameters are left as that step found them"."""
    problem = make_problem(loss="squared_error", dtype=dtype)
    found = []
    trainer = ei.Trainer(problem.config, problem.params, lr=lr)
    with pytest.raises(RunError, match="the loss is (inf|nan) at step 2: training diverged; try a smaller lr than 1e"):
        ei.train(trainer, endless(problem), 50, lambda k, loss: found.append(problem.params.flat.copy()))
    np.testing.assert_array_equal([problem.params.flat], found)


def test_a_step_allocates_nothing_and_compiles_nothing_after_the_first():
    from numba.core.runtime import _nrt_python, rtsys

    from eirnn_np import kernels

    problem = make_problem(n_time=40, n_batch=20, n_hidden=60)  # its smallest arrays are many times the bound below
    inputs, labels = problem.inputs, problem.labels
    trainer = ei.Trainer(problem.config, problem.params)
    trainer.step(inputs, labels)
    compiled = len(kernels.step.signatures)
    gc.collect()
    tracemalloc.start()
    _nrt_python.memsys_enable_stats()
    try:
        for _ in range(10):  # the interpreter fills caches of its own
            trainer.step(inputs, labels)
        before, python = rtsys.get_allocation_stats(), tracemalloc.take_snapshot()
        for _ in range(200):
            trainer.step(inputs, labels)
        after, growth = rtsys.get_allocation_stats(), tracemalloc.take_snapshot().compare_to(python, "filename")
        del python
        tracemalloc.reset_peak()
        current = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            trainer.step(inputs, labels)
        peak = tracemalloc.get_traced_memory()[1] - current
    finally:
        tracemalloc.stop()
        _nrt_python.memsys_disable_stats()
    # Numba keeps no record of the arrays that it is handed (BORROWED), and compiled code makes none.
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free == 0
    grown = sum(stat.size_diff for stat in growth if stat.traceback[0].filename.startswith(ei.__path__[0]))
    assert grown < 200 * 250, "less than the smallest array at each step"
    assert peak < problem.params.flat.nbytes / 2, "an array was made and dropped within a step"
    assert len(kernels.step.signatures) == compiled


@pytest.mark.parametrize(
    ("n_time", "n_batch", "n_hidden"), [(100, 16, 50), (100, 64, 256), (100, 64, 1000), (2000, 16, 50)]
)
def test_a_step_works_in_the_memory_of_four_arrays_of_time_trial_unit(n_time, n_batch, n_hidden):
    workspace = make_workspace(ei.ModelConfig(n_hidden=n_hidden), n_time, n_batch, "float32")
    assert sum(array.nbytes for array in workspace) <= 4 * 4 * n_time * n_batch * n_hidden


def test_other_parameters_for_the_same_network_only(problem):
    """The compiled step trusts their shape: another network's would have it write out of bounds."""
    trainer = ei.Trainer(problem.config, problem.params)
    best = problem.params.copy()
    trainer.step(problem.inputs, problem.labels)
    trainer.params = best
    trainer.step(problem.inputs, problem.labels)
    assert trainer.params is best
    larger = ei.init_params(ei.ModelConfig(n_in=2, n_hidden=8, n_out=4), dtype="float64")
    fixed = best.copy()
    fixed.flat.flags.writeable = False
    for wrong, message in ((larger, "params do not fit config"), (best.astype("float32"), "params must be float64"),
                           (fixed, "params must be float64, writeable")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            trainer.params = wrong
    assert trainer.params is best
