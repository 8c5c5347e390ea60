"""A step happens or it does not: interrupted at any moment, or met by what is not finite."""

import contextlib
import copy
import signal

import numba
import numpy as np
import pytest
from conftest import make_problem
from numba.np.ufunc import parallel

import eirnn_np as ei
from eirnn_np.algorithms import algorithm
from eirnn_np.trainer import RunError

KINDS = {
    "Trainer": lambda p, **o: ei.Trainer(p.config, p.params, lr=0.01, seed=3, **o),
    "one thread": lambda p, **o: ei.Trainer(p.config, p.params, lr=0.01, seed=3, threads=1, **o),
    "GradientTrainer": lambda p: ei.GradientTrainer(p.config, p.params, lr=0.01, seed=3),
    "SGD": lambda p: ei.GradientTrainer(p.config, p.params, seed=3, optimiser=ei.SGD(0.1)),
    "tbptt": lambda p: ei.GradientTrainer(p.config, p.params, algorithm("tbptt", 3), lr=0.01, seed=3),
}


# A timer may go off in a finaliser that Python happens to run, and is lost there: no step is involved.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_at_any_moment_the_training_goes_on_to_the_bit(kind, tmp_path):
    """A loop of the user's own, Ctrl-C at random moments: the count, the noise and the checkpoint stay right."""
    problem, steps = make_problem(n_time=30, n_batch=9, n_hidden=20, n_in=3, dtype="float32"), 400
    whole, trainer = KINDS[kind](copy.deepcopy(problem)), KINDS[kind](copy.deepcopy(problem))
    expected = [whole.step(problem.inputs, problem.labels) for _ in range(steps)]
    trainer.compile(30, 9)
    losses, interruptions, saved = [], 0, 0
    rng = np.random.default_rng(0)

    def ctrl_c(*_):
        raise KeyboardInterrupt

    before, threads = signal.signal(signal.SIGALRM, ctrl_c), numba.get_num_threads()
    try:
        while trainer.k < steps:
            try:
                signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(2e-5, 2e-3)))
                while trainer.k < steps:
                    loss = trainer.step(problem.inputs, problem.labels)
                    losses.append(loss)
            except KeyboardInterrupt:
                interruptions += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert trainer.k - len(losses) in (0, 1)
            if kind in ("Trainer", "one thread") and interruptions % 10 == 0:
                ei.save_checkpoint(tmp_path, trainer, losses)
                saved += 1
            if trainer.k > len(losses):
                losses.append(trainer.last_loss)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        numba.set_num_threads(threads)  # an interruption may keep a step from giving the number back
    assert interruptions > 8
    assert losses == expected
    assert trainer.params.flat.tobytes() == whole.params.flat.tobytes()
    if saved:
        again, kept, _ = ei.load_checkpoint(tmp_path)
        assert again.k == len(kept)
        np.testing.assert_array_equal(kept, expected[: again.k])


class _Taken:
    """A lock that nobody gives back."""

    def __bool__(self):
        return True

    def __enter__(self):
        raise AssertionError("would wait for ever")

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_takes_no_lock_that_ctrl_c_could_leave_taken(kind, threads, monkeypatch):
    """Numba's own, at the start of its threads: it takes them anew for each question about their number."""
    problem = make_problem(n_time=4, n_batch=2, dtype="float32")
    trainer = KINDS[kind](problem)
    trainer.threads = threads
    trainer.step(problem.inputs, problem.labels)
    most = numba.get_num_threads()
    for lock in ("_backend_init_process_lock", "_backend_init_thread_lock"):
        assert hasattr(parallel, lock)
        monkeypatch.setattr(parallel, lock, _Taken())
    with pytest.raises(AssertionError, match="wait for ever"):
        numba.get_num_threads()
    trainer.step(problem.inputs, problem.labels)
    ei.forward(problem.config, problem.params, problem.inputs)
    assert trainer.k == 2
    assert ei.Trainer(problem.config, problem.params).threads == most


def state(trainer):
    adam = trainer.optimiser
    return trainer.k, trainer.params.flat.tobytes(), adam.m.tobytes(), adam.v.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", [1e20, 1e37, 1e160, 1e300])
def test_a_gradient_that_adam_cannot_take_changes_nothing(dtype, target, threads):
    """The loss may be finite where the gradient, or its square in Adam's moment, is not."""
    problem = make_problem(n_time=6, n_batch=20, n_hidden=37, loss="squared_error", dtype=dtype)
    trainer = ei.Trainer(problem.config, problem.params, threads=threads)
    trainer.step(problem.inputs, problem.labels)
    before = state(trainer)
    labels = problem.labels.copy()
    if target > float(np.finfo(dtype).max):
        pytest.skip("no such number in this dtype")
    labels[2, 17, 1] = target
    taken = dtype == "float64" and target < 1e150
    with contextlib.nullcontext() if taken else pytest.warns(RuntimeWarning, match="no update: .* at step 2"):
        trainer.step(problem.inputs, labels)
    if taken:
        assert trainer.k == 2
    else:
        assert state(trainer) == before
        with pytest.raises(RunError, match=r"at step 2: training diverged; .*(too large|the loss is inf)"):
            ei.train(trainer, iter([(problem.inputs, labels)]), 1)
    k = trainer.k
    trainer.step(problem.inputs, problem.labels)
    assert trainer.k == k + 1
    assert np.isfinite(trainer.params.flat).all()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"SGD"}))  # which takes any finite gradient
def test_a_loop_of_one_s_own_is_told_of_the_first_refusal(kind):
    """The loss is finite, the gradient too large: the loop's line is named, once; `train` has its error alone."""
    problem = make_problem(n_time=4, n_batch=3, loss="squared_error", dtype="float32")
    trainer, labels = KINDS[kind](problem), problem.labels.copy()
    labels[2, 1, 1] = 1e19
    spoilt = problem.inputs, labels
    with pytest.raises(RunError, match="at step 1: training diverged"):
        ei.train(trainer, iter([spoilt]), 1)
    trainer.compile(4, 3)
    with pytest.warns(RuntimeWarning, match=r"no update: .* at step 1: training diverged; try a smaller") as said:
        trainer.step(*spoilt)
    assert [each.filename for each in said] == [__file__]
    trainer.step(*spoilt)  # here a warning would be an error
    assert trainer.k == 0
    trainer.step(problem.inputs, problem.labels)
    assert trainer.k == 1
    other = KINDS[kind](problem)
    other.warns = False
    other.step(*spoilt)
    assert other.k == 0
    assert not other.warns
    other = KINDS[kind](problem)
    other.params.w_in[0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="no update: the loss is nan at step 1"):
        other.step(problem.inputs, problem.labels)
    other.compile(4, 3)  # says nothing of its blank batch


def test_where_warnings_are_errors_each_refused_step_is_one():
    problem = make_problem(n_time=4, n_batch=3, loss="squared_error", dtype="float32")
    trainer, labels = KINDS["Trainer"](problem), problem.labels.copy()
    labels[2, 1, 1] = 1e19
    trainer.step(problem.inputs, problem.labels)
    before = state(trainer)
    for _ in range(2):
        with pytest.raises(RuntimeWarning, match="no update"):  # as pytest is set up here
            trainer.step(problem.inputs, labels)
    assert state(trainer) == before


def test_an_update_that_overflows_is_seen_at_its_step():
    problem = make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params, lr=3e38)
    with pytest.raises(RunError, match=r"a parameter is not finite at step [12]: .*\(parameter not finite: "):
        ei.train(trainer, iter([(problem.inputs, problem.labels)] * 3), 3)
    with pytest.raises(ValueError, match="is not finite"):
        ei.save_checkpoint(".", trainer, np.zeros(trainer.k))


@pytest.mark.parametrize("eps", [0, 0.0, -1e-8, 1e-50])
def test_an_eps_that_divides_zero_by_zero_is_refused(eps):
    problem = make_problem(dtype="float32")  # 1e-50 is 0 in float32
    with pytest.raises(ValueError, match="eps must be"):
        ei.Adam(eps=eps).update(problem.params, ei.Params.like(problem.config))


@pytest.mark.parametrize("make", [ei.Adam, ei.SGD])
@pytest.mark.parametrize("lr", [1e-50, lambda k: 1e-50])
def test_a_rate_that_would_count_steps_and_move_nothing_is_refused(make, lr):
    problem = make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params, optimiser=make(lr))
    with pytest.raises(ValueError, match="lr must be above 0 in float32, found 1e-50"):
        trainer.step(problem.inputs, problem.labels)
    assert trainer.k == 0
    double = make_problem()
    ei.Trainer(double.config, double.params, optimiser=make(lr)).step(double.inputs, double.labels)  # a number there


@pytest.mark.parametrize("make", [ei.Adam, ei.SGD])
@pytest.mark.parametrize("name", ["k", "clipped"])
@pytest.mark.parametrize("value", [-1, 2.5, np.nan, True])
def test_a_count_is_a_count(make, name, value):
    """Adam's bias correction at k = -1 divides by 0; a half would be counted on from."""
    optimiser = make(0.1)
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        setattr(optimiser, name, value)
    assert getattr(optimiser, name) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("make", [lambda: ei.Adam(0.1), lambda: ei.SGD(0.1)], ids=["Adam", "SGD"])
def test_an_optimiser_takes_no_gradient_that_is_not_finite(make, bad):
    problem, optimiser = make_problem(dtype="float32"), make()
    grads = ei.Params.like(problem.config)
    grads.flat[...] = 0.1
    optimiser.update(problem.params, grads)
    before, kept = problem.params.flat.copy(), copy.deepcopy(optimiser.__getstate__())
    grads.w_rec[3, 4] = bad
    if bad == 1e20 and isinstance(optimiser, ei.SGD):
        optimiser.update(problem.params, grads)
        moved = np.abs(problem.params.flat - before)
        assert moved.max() == pytest.approx(0.1, rel=1e-5)  # lr times the clipped norm, all of it in one entry
        return
    with pytest.raises(FloatingPointError, match="the gradient of w_rec must be finite"):
        optimiser.update(problem.params, grads)
    np.testing.assert_array_equal(problem.params.flat, before)
    for name, value in optimiser.__getstate__().items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_sgd_clips_a_gradient_of_any_size(size):
    problem = make_problem()
    grads = ei.Params.like(problem.config, "float64")
    grads.flat[...] = np.random.default_rng(0).normal(size=grads.flat.size)
    direction = grads.flat / np.linalg.norm(grads.flat)
    grads.flat[...] *= size
    before = problem.params.flat.copy()
    sgd = ei.SGD(0.1, clip=1.0)
    sgd.update(problem.params, grads)
    norm = size * np.linalg.norm(grads.flat / size)
    expected = 0.1 * direction if norm > 1 else 0.1 * grads.flat
    np.testing.assert_allclose(before - problem.params.flat, expected, rtol=1e-9, atol=1e-16)
    assert (sgd.k, sgd.clipped) == (1, int(norm > 1))


@pytest.mark.parametrize("kind", ["one thread", "GradientTrainer"])
def test_the_last_step_that_has_noise_of_its_own_is_the_last(kind):
    problem = make_problem(n_time=3, n_batch=2, n_hidden=7, dtype="float32")
    trainer = KINDS[kind](problem)
    trainer.optimiser.k = 2**32 - 1
    trainer.step(problem.inputs, problem.labels)
    assert trainer.k == 2**32
    before = state(trainer)
    with pytest.raises(ValueError, match="must be"):
        trainer.step(problem.inputs, problem.labels)
    assert state(trainer) == before
