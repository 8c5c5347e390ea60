"""What a training may be asked for: another optimiser, clipping, a schedule, frozen numbers, weighted time."""

import contextlib
import copy

import naive
import numpy as np
import pytest
import torch
from conftest import make_problem, relative_error

import eirnn_np as ei
from eirnn_np.tasks import make_trials, pad_trials
from eirnn_np.trainer import RunError

OPTIMISERS = {
    "Adam": lambda: ei.Adam(0.02),
    "Adam, clipped": lambda: ei.Adam(0.02, clip=0.05),
    "SGD": lambda: ei.SGD(0.3, clip=np.inf),
    "SGD, clipped": lambda: ei.SGD(0.3, clip=0.05),
}
ALL = {"activation": "softplus", "penalties": {"omega": 1.0, "l2_rates": 0.1, "l1_rec": 0.1}, "readout": "all"}


def trainers(problem, make, **options):
    """One of each kind, on copies of the parameters."""
    kinds = ei.Trainer, ei.GradientTrainer
    return [kind(problem.config, problem.params.copy(), seed=5, optimiser=make(), **options) for kind in kinds]


# --- Optimisers ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_whole_step_is_its_parts_to_the_bit(name, dtype):
    problem = make_problem(dtype=dtype, n_batch=9, train_x0=True, **ALL)
    freeze = {"b_in": True, "w_rec": np.random.default_rng(0).random((7, 7)) < 0.4}
    whole, parts = trainers(problem, OPTIMISERS[name], freeze=freeze)
    for _ in range(5):
        assert whole.step(problem.inputs, problem.labels) == parts.step(problem.inputs, problem.labels)
        assert whole.grads.flat.tobytes() == parts.grads.flat.tobytes()
        assert whole.params.flat.tobytes() == parts.params.flat.tobytes()
    assert whole.k == parts.k == 5
    assert whole.optimiser.clipped == parts.optimiser.clipped == (5 if "clipped" in name else 0)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_match_torch(name):
    """Gradients of the oracle are ours here (tested elsewhere): clipping and update are torch's."""
    problem, optimiser = make_problem(), OPTIMISERS[name]()
    trainer = ei.Trainer(problem.config, problem.params, seed=1, optimiser=optimiser)
    theirs = {n: torch.tensor(v.copy(), requires_grad=True) for n, v in problem.params.items()}
    kind = torch.optim.Adam if "Adam" in name else torch.optim.SGD
    step = kind(theirs.values(), lr=optimiser.lr)
    for k in range(50):
        now = ei.Params.like(
            problem.config, "float64", np.concatenate([v.detach().numpy().ravel() for v in theirs.values()])
        )
        noise = ei.recurrent_noise(problem.config, 1, k, 11, 3, "float64")
        _, grads = ei.loss_and_grads(problem.config, now, problem.inputs, problem.labels, noise)
        for n, tensor in theirs.items():
            tensor.grad = torch.tensor(getattr(grads, n).copy())
        # clip_grad_norm_ itself divides by the norm plus 1e-6.
        norm = torch.linalg.vector_norm(torch.cat([tensor.grad.flatten() for tensor in theirs.values()]))
        for tensor in theirs.values():
            tensor.grad *= min(1.0, optimiser.clip / norm.item())
        step.step()
        trainer.step(problem.inputs, problem.labels)
    for n, value in problem.params.items():
        assert relative_error(value, theirs[n].detach().numpy()) < 1e-9, n


@pytest.mark.parametrize("alone", [False, True], ids=["in all", "planted: each tensor alone"])
def test_the_norm_is_that_of_all_tensors_together(alone):
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels, problem.noise)
    before = problem.params.copy()
    ei.SGD(1.0, clip=0.01).update(problem.params, grads)
    tensors = [value for _, value in grads.items()]
    if alone:
        expected = [naive.clipped([tensor], 0.01)[0] for tensor in tensors]
    else:
        expected = naive.clipped(tensors, 0.01)
    agree = all(
        np.allclose(old - new, wanted, rtol=1e-9, atol=1e-15)
        for (_, old), (_, new), wanted in zip(before.items(), problem.params.items(), expected)
    )
    assert agree != alone


def test_the_norm_is_taken_over_blocks_in_order():
    """More numbers than a block; the same bits for any number of threads, in the step and out of it."""
    problem = make_problem(n_hidden=90, n_batch=20, dtype="float32")
    finals = set()
    for threads in (1, 2, 3):
        for trainer in trainers(problem, lambda: ei.SGD(0.5, clip=1e-3), threads=threads):
            for _ in range(3):
                trainer.step(problem.inputs, problem.labels)
            assert trainer.optimiser.clipped == 3
            finals.add(trainer.params.flat.tobytes())
    assert len(finals) == 1


def test_a_schedule_is_a_function_of_k():
    problem = make_problem()
    rates = [0.1, 0.05, 0.2, 0.01]
    by_function = ei.Trainer(problem.config, problem.params.copy(), lr=lambda k: rates[k])
    by_hand = ei.Trainer(problem.config, problem.params.copy())
    for k, rate in enumerate(rates):
        by_hand.lr = rate
        assert by_function.lr == rate
        for trainer in (by_function, by_hand):
            trainer.step(problem.inputs, problem.labels)
            assert trainer.k == k + 1
    assert by_function.params.flat.tobytes() == by_hand.params.flat.tobytes()
    with pytest.raises(ValueError, match="lr must be a number above 0"):
        by_hand.lr = 0
    bad = ei.Trainer(problem.config, problem.params, lr=lambda k: -1.0)
    with pytest.raises(ValueError, match="lr at step 0 must be a number above 0"):
        bad.step(problem.inputs, problem.labels)


def test_a_norm_above_largest_changes_nothing():
    for make in (lambda: ei.SGD(0.1, largest=1e-3), lambda: ei.Adam(0.1, largest=1e-3)):
        problem = make_problem()
        for trainer in trainers(problem, make):
            before = trainer.params.flat.tobytes()
            with pytest.warns(RuntimeWarning, match="no update: the gradient's norm is above 0.001 at step 1"):
                trainer.step(problem.inputs, problem.labels)
            assert trainer.k == 0
            assert trainer.params.flat.tobytes() == before
            trainer.optimiser.largest = np.inf
            trainer.step(problem.inputs, problem.labels)
            assert trainer.k == 1
        _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels)
        with pytest.raises(FloatingPointError, match="the norm of the gradient is above 0.001; nothing has changed"):
            make().update(problem.params, grads)


def test_sgd_takes_a_gradient_that_adam_cannot():
    problem = make_problem(loss="squared_error", dtype="float32")
    labels = problem.labels.copy()
    labels[2, 1, 1] = 3e17
    for make, k in ((lambda: ei.SGD(0.1, clip=1.0), 1), (lambda: ei.Adam(0.1), 0)):
        trainer = ei.Trainer(problem.config, problem.params.copy(), optimiser=make())
        with contextlib.nullcontext() if k else pytest.warns(RuntimeWarning, match="too large: b_out"):
            trainer.step(problem.inputs, labels)
        assert trainer.k == k
        assert np.isfinite(trainer.params.flat).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimiser": "sgd"}, "optimiser must be an Adam or SGD, found 'sgd'"),
        ({"optimiser": ei.SGD(0.1), "clip": 2.0}, "clip belongs to the optimiser where one is given"),
        ({"optimiser": ei.SGD(0.1), "lr": 0.2}, "lr belongs to the optimiser where one is given"),
        ({"clip": 0}, "clip must be a number above 0"),
        ({"freeze": ["w_in"]}, "freeze must be a dict of parameters' names"),
        ({"freeze": {"w": True}}, r"freeze must name parameters of this network \(w_in, .*found \['w'\]"),
        ({"freeze": {"x0": True}}, "freeze must name parameters"),
        ({"freeze": {"w_rec": np.ones((7, 6), bool)}}, r"freeze\['w_rec'\] must have shape \(7, 7\)"),
        ({"freeze": {"w_rec": 1}}, r"freeze\['w_rec'\] must be True, False or a bool array"),
        ({"freeze": {"w_rec": np.ones((7, 7))}}, r"freeze\['w_rec'\] must be True, False or a bool array"),
    ],
)
def test_wrong_arguments_are_one_line(problem, options, message):
    for kind in (ei.Trainer, ei.GradientTrainer):
        if kind is ei.GradientTrainer and isinstance(options.get("optimiser"), str | ei.SGD):
            continue  # takes any object with update(); a rate beside it has no say
        with pytest.raises(ValueError, match=message):
            kind(problem.config, problem.params, **options)


# --- Frozen numbers ---


@pytest.mark.parametrize("name", OPTIMISERS)
def test_frozen_numbers_keep_bytes_and_moments(name):
    problem = make_problem(dtype="float32", train_x0=True)
    rng = np.random.default_rng(2)
    freeze = {"w_in": True, "w_rec": rng.random((7, 7)) < 0.5, "b_rec": np.array(False), "x0": np.ones(7, bool)}
    trainer = ei.Trainer(problem.config, problem.params, optimiser=OPTIMISERS[name]())
    for _ in range(3):
        trainer.step(problem.inputs, problem.labels)  # moments that are not 0
    other = ei.Trainer(problem.config, problem.params, optimiser=trainer.optimiser, freeze=freeze)
    before, moments = problem.params.copy(), copy.deepcopy((other.optimiser.m, other.optimiser.v))
    for _ in range(3):
        other.step(problem.inputs, problem.labels)
    frozen = other.frozen != 0
    assert frozen.sum() == 14 + freeze["w_rec"].sum() + 7
    np.testing.assert_array_equal(problem.params.flat[frozen], before.flat[frozen])
    assert (problem.params.flat != before.flat)[~frozen].mean() > 0.8
    assert not other.grads.flat[frozen].any()
    if moments[0] is not None:
        for old, new in zip(moments, (other.optimiser.m, other.optimiser.v)):
            np.testing.assert_array_equal(old[frozen], new[frozen])
            assert (old != new)[~frozen].mean() > 0.8


def test_no_norm_counts_what_is_frozen():
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels,
                                 ei.recurrent_noise(problem.config, 0, 0, 11, 3, "float64"))  # fmt: skip
    rest = [value for name, value in grads.items() if name != "w_out"]
    clip = 0.5 * np.sqrt(sum((value**2).sum() for value in rest))
    before = problem.params.copy()
    trainer = ei.Trainer(problem.config, problem.params, optimiser=ei.SGD(1.0, clip=clip), freeze={"w_out": True})
    trainer.step(problem.inputs, problem.labels)
    for (name, old), (_, new) in zip(before.items(), problem.params.items()):
        expected = 0 if name == "w_out" else 0.5 * getattr(grads, name)
        np.testing.assert_allclose(old - new, expected + 0 * old, rtol=1e-9, atol=1e-15)


# --- Weighted time ---


def test_any_label_may_stand_where_the_weight_is_0():
    problem = make_problem()
    weights = np.ones((11, 3))
    weights[6:] = 0
    for backend in ("numba", "numpy"):
        expected = ei.loss_and_grads(*vars(problem).values(), weights, backend)
        for label in (-100, 99, 4):
            labels = problem.labels.copy()
            labels[7:] = label
            found = ei.loss_and_grads(
                problem.config, problem.params, problem.inputs, labels, problem.noise, weights, backend
            )
            assert found[0] == expected[0]
            np.testing.assert_array_equal(found[1].flat, expected[1].flat)
        labels[0] = -100
        with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 3, found -100 at \(0, 0\)"):
            ei.loss_and_grads(problem.config, problem.params, problem.inputs, labels, problem.noise, weights, backend)
        inputs = problem.inputs.copy()
        inputs[8] = np.nan
        with pytest.raises(ValueError, match=r"inputs must be finite, .* at \(8, 0, 0\): they drive the"):
            ei.loss_and_grads(problem.config, problem.params, inputs, problem.labels, problem.noise, weights, backend)
    squared = make_problem(loss="squared_error")
    targets = squared.labels.copy()
    targets[6:] = np.nan
    loss, _ = ei.loss_and_grads(squared.config, squared.params, squared.inputs, targets, squared.noise, weights)
    assert np.isfinite(loss)
    with pytest.raises(ValueError, match="labels must be finite"):
        ei.loss_and_grads(squared.config, squared.params, squared.inputs, targets, squared.noise)


def test_trials_of_different_length_side_by_side():
    """The loss is the mean over all their steps, each trial as if it ran alone."""
    trials = make_trials("PerceptualDecisionMaking-v0", 5, 3)
    assert len({len(trial.labels) for trial in trials}) > 1
    config = ei.ModelConfig(n_hidden=7, sigma_rec=0.0)
    params = ei.init_params(config, dtype="float64")
    inputs, labels, weights = pad_trials(trials)
    loss, grads = ei.loss_and_grads(config, params, inputs, labels, weights=weights)
    alone = [ei.loss_and_grads(config, params, t.inputs[:, None], t.labels[:, None]) for t in trials]
    share = np.array([len(t.labels) for t in trials]) / sum(len(t.labels) for t in trials)
    np.testing.assert_allclose(loss, sum(s * each[0] for s, each in zip(share, alone)), rtol=1e-12)
    np.testing.assert_allclose(grads.flat, sum(s * each[1].flat for s, each in zip(share, alone)), atol=1e-14)
    with pytest.raises(ValueError, match="trials must hold at least one trial"):
        pad_trials([])
    with pytest.raises(ValueError, match=r"trials\[1\] must have inputs \(T, 3\)"):
        pad_trials([trials[0], trials[1]._replace(inputs=trials[1].inputs[:, :2])])


def test_class_weights_are_those_of_torch():
    problem = make_problem()
    class_weights = [1.0, 0.5, 0.0, 3.0]
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(class_weights, dtype=torch.float64))
    config = problem.config
    noise = ei.recurrent_noise(config, 0, 0, 11, 3, "float64")
    outputs = ei.forward(config, problem.params, problem.inputs, noise).outputs
    expected = loss(torch.tensor(outputs).flatten(0, 1), torch.tensor(problem.labels).flatten()).item()
    batches = iter([(problem.inputs, problem.labels)])
    losses, _ = ei.train(ei.Trainer(config, problem.params.copy()), batches, 1, class_weights=class_weights)
    np.testing.assert_allclose(losses[0], expected, rtol=1e-12)
    weights = np.random.default_rng(0).random((11, 3)) * (np.arange(33).reshape(11, 3) % 3 > 0)
    labels = np.where(weights == 0, -1, problem.labels)
    both, _ = ei.train(
        ei.Trainer(config, problem.params.copy()),
        iter([(problem.inputs, labels, weights)]),
        1,
        class_weights=class_weights,
    )
    product = weights * np.array(class_weights)[problem.labels]
    np.testing.assert_allclose(
        both[0],
        ei.loss_and_grads(config, problem.params, problem.inputs, problem.labels, noise, product)[0],
        rtol=1e-12,
    )
    for wrong, message in (
        ([1, 2], r"class_weights must have shape \(4,\)"),
        ([0] * 4, "class_weights must be 0 or more"),
        ([1, 1, 1, -1], "class_weights must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            ei.train(ei.Trainer(config, problem.params), iter([]), 1, class_weights=wrong)
    squared = make_problem(loss="squared_error")
    with pytest.raises(ValueError, match="class_weights belong to labels"):
        ei.train(ei.Trainer(squared.config, squared.params), iter([]), 1, class_weights=[1] * 4)


def test_batches_with_class_weights():
    plain, weighted = ei.make_batches(seed=3), ei.make_batches(seed=3, class_weights=[1, 4, 2])
    assert (weighted.n_in, weighted.n_out, weighted.dt, weighted.source) == (3, 3, 20.0, plain.source)
    (inputs, labels), (same, also, weights) = next(plain), next(weighted)
    np.testing.assert_array_equal(inputs, same)
    np.testing.assert_array_equal(labels, also)
    np.testing.assert_array_equal(weights, np.array([1, 4, 2])[labels])
    config = ei.ModelConfig(n_hidden=5)
    with weighted:
        losses, _ = ei.train(ei.Trainer(config, ei.init_params(config)), weighted, 3)
    assert np.isfinite(losses).all()
    with pytest.raises(ValueError, match=r"class_weights must have shape \(3,\), found \(2,\)"):
        ei.make_batches(class_weights=[1, 2])


# --- Checkpoints ---


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_training_with_all_of_it_goes_on_to_the_bit(name, tmp_path):
    problem = make_problem(dtype="float32", n_batch=9, sigma_in=0.1, mask_in=np.ones((7, 2)), **ALL)
    weights = np.random.default_rng(0).random((11, 9))
    freeze = {"b_rec": True, "w_out": np.eye(4, 7) > 0}
    whole, half = (
        ei.Trainer(problem.config, problem.params.copy(), seed=3, optimiser=OPTIMISERS[name](), freeze=freeze)
        for _ in range(2)
    )
    batch = problem.inputs, problem.labels, weights
    expected = [whole.step(*batch) for _ in range(10)]
    losses = [half.step(*batch) for _ in range(4)]
    ei.save_checkpoint(tmp_path, half, losses)
    again, kept, _ = ei.load_checkpoint(tmp_path)
    assert type(again.optimiser) is type(whole.optimiser)
    assert again.optimiser.clip == whole.optimiser.clip
    found = [*kept, *(again.step(*batch) for _ in range(6))]
    assert found == expected
    assert again.params.flat.tobytes() == whole.params.flat.tobytes()
    assert again.optimiser.clipped == whole.optimiser.clipped
    np.testing.assert_array_equal(again.frozen, whole.frozen)


def test_a_checkpoint_holds_no_schedule(tmp_path):
    problem = make_problem()

    def rate(k):
        return 0.1 / (1 + k)

    whole, half = (ei.Trainer(problem.config, problem.params.copy(), lr=rate) for _ in range(2))
    expected = [whole.step(problem.inputs, problem.labels) for _ in range(6)]
    ei.save_checkpoint(tmp_path, half, [half.step(problem.inputs, problem.labels) for _ in range(3)])
    with pytest.raises(ValueError, match="lr must be given: this training had a schedule"):
        ei.load_checkpoint(tmp_path)
    again, kept, _ = ei.load_checkpoint(tmp_path, lr=rate)
    assert [*kept, *(again.step(problem.inputs, problem.labels) for _ in range(3))] == expected


def test_a_divergence_is_told_with_frozen_numbers(problem):
    problem.inputs[...] = 1e200
    with pytest.raises(RunError, match="training diverged"):
        ei.train(
            ei.Trainer(problem.config, problem.params, freeze={"w_out": True}),
            iter([(problem.inputs, problem.labels)]),
            1,
        )
