"""Numbers after training: intervals, ideal observer, selectivity, psychometric shares, the evaluation run."""

import math
import statistics

import numba
import numpy as np
import pytest
from scipy import stats

import eirnn_np as ei
from eirnn_np import analysis, tasks

PDM = tasks.TUTORIAL_TASK


@pytest.mark.parametrize("n", [1, 2, 7, 60, 500, 5000])
def test_wilson_interval_is_scipy_s(n):
    for k in {0, 1, n // 3, n // 2, n - 1, n}:
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        low, high = analysis.wilson_interval(k, n)
        np.testing.assert_allclose((low, high), (expected.low, expected.high), rtol=1e-12, atol=1e-12)
        assert 0 <= low < high <= 1
    with pytest.raises(ValueError, match="at least one trial"):
        analysis.wilson_interval(0, 0)


@pytest.mark.parametrize("n", [7, 60, 500, 5000])
def test_wilson_interval_holds_the_proportion(n):
    """At 0 of n and n of n it ends 1e-17 from 0, or 1e-16 from 1: rounding."""
    for k in (0, n):
        low, high = analysis.wilson_interval(k, n)
        assert low <= k / n <= high


# --- the ideal observer ----------------------------------------------------------------------------


def test_ideal_observer_is_the_normal_distribution_function():
    cohs = [0, 3.2, 12.8, 51.2]
    for sigma, dt, n_steps in ((1.0, 20, 25), (0.3, 100, 1), (2.5, 10, 80)):
        noise = math.sqrt(2 * n_steps) * sigma / math.sqrt(dt)  # of the sum of differences
        expected = [stats.norm.cdf(n_steps * coh / 100 / noise) for coh in cohs]
        np.testing.assert_allclose(analysis.ideal_observer(cohs, sigma, dt, n_steps), expected, rtol=1e-12)
    np.testing.assert_array_equal(analysis.ideal_observer([0, 5], 0.0, 20, 25), [0.5, 1])
    np.testing.assert_array_equal(analysis.ideal_observer([0, 5], 1.0, 20, 0), [0.5, 0.5])


def optimal_choices(trials):
    """The sign of the summed difference of the two stimulus channels."""
    sums = [t.inputs[slice(*t.periods["stimulus"])].astype(float).sum(axis=0) for t in trials]
    return np.array([1 if s[1] > s[2] else 2 for s in sums])


@pytest.mark.parametrize(
    "change", [{}, {"sigma": 0.5}, {"cohs": [2.0, 20.0]}, {"dt": 50}], ids=["tutorial", "sigma", "cohs", "dt"]
)
def test_ideal_observer_agrees_with_the_optimal_decision_on_trials(change):
    env_kwargs = {**tasks.evaluation_env_kwargs(PDM, None), **change}
    trials = ei.make_trials(PDM, 6000, 3, env_kwargs)
    choices, targets = optimal_choices(trials), np.array([t.labels[-1] for t in trials])
    evaluation = analysis.Evaluation(trials, choices, targets, [])
    ideal = analysis.task_ideal_observer(PDM, env_kwargs, evaluation)
    if not change:
        assert round(ideal["accuracy"], 4) == 0.8645
    found = analysis.performance(evaluation)
    for row in [{"coherence": None, **found}, *found["by_coherence"]]:
        p = ideal["accuracy"] if row["coherence"] is None else ideal["by_coherence"][row["coherence"]]
        assert abs(row["accuracy"] - p) < 4 * math.sqrt(p * (1 - p) / row["n_trials"]) + 1e-9, row
    assert {row["coherence"] for row in found["by_coherence"]} == set(ideal["by_coherence"])


def test_ideal_observer_is_silent_where_it_does_not_know():
    training = ei.make_trials(PDM, 20, 0)
    evaluation = analysis.Evaluation(training, None, None, [])
    assert analysis.task_ideal_observer(PDM, {"dt": 20}, evaluation) is None  # stimuli of several lengths
    ring = {**tasks.evaluation_env_kwargs(PDM, None), "dim_ring": 4}
    evaluation = analysis.Evaluation(ei.make_trials(PDM, 20, 0, ring), None, None, [])
    assert analysis.task_ideal_observer(PDM, ring, evaluation) is None
    evaluation = analysis.Evaluation(ei.make_trials("GoNogo-v0", 20, 0), None, None, [])
    assert analysis.task_ideal_observer("GoNogo-v0", None, evaluation) is None


# --- by hand ---------------------------------------------------------------------------------------


def trial(truth, coh, stimulus=(1, 3), length=4, **periods):
    inputs, labels = np.zeros((length, 3), np.float32), np.zeros(length, np.int64)
    labels[-1] = 1 if truth is None else truth + 1
    info = {key: value for key, value in (("ground_truth", truth), ("coh", coh)) if value is not None}
    return tasks.Trial(inputs, labels, info, {"stimulus": stimulus, **periods})


def by_hand(trials, choices, rates=None):
    targets = np.array([t.labels[-1] for t in trials])
    return analysis.Evaluation(trials, np.array(choices), targets, rates)


def test_performance_counts_trials():
    trials = [trial(0, 5.0), trial(0, 5.0), trial(1, 5.0), trial(1, 0.0), trial(0, 0.0)]
    found = analysis.performance(by_hand(trials, [1, 2, 2, 0, 2]))
    assert (found["n_trials"], found["n_correct"], found["accuracy"]) == (5, 2, 0.4)
    assert [(r["coherence"], r["n_trials"], r["n_correct"]) for r in found["by_coherence"]] == [
        (0, 2, 0),
        (5, 3, 2),
    ]
    np.testing.assert_allclose(found["interval_95"], analysis.wilson_interval(2, 5))
    assert "by_coherence" not in analysis.performance(by_hand([trial(0, None), trial(1, None)], [1, 1]))


def test_psychometric_shares():
    trials = [trial(0, 0.0), trial(1, 0.0), *[trial(0, 10.0)] * 2, *[trial(1, 10.0)] * 2, trial(1, 50.0)]
    rows = analysis.psychometric(by_hand(trials, [2, 1, 1, 0, 2, 1, 2]))
    found = [(row["coherence"], row["n_trials"], row["share"]) for row in rows]
    assert found == [(-10, 2, 0.0), (0, 2, 0.5), (10, 2, 0.5), (50, 1, 1.0)]
    for row, k in zip(rows, (0, 1, 1, 1)):
        np.testing.assert_allclose(row["interval_95"], analysis.wilson_interval(k, row["n_trials"]))
    assert analysis.psychometric(by_hand([trial(0, None), trial(1, None)], [1, 2])) is None
    assert analysis.psychometric(by_hand([trial(None, 5.0)], [1])) is None
    assert analysis.psychometric(by_hand([trial(2, 5.0), trial(0, 5.0)], [1, 2])) is None  # three options


def test_d_prime_of_tiny_data():
    """Trials of different lengths, three units: the second is constant, the third does not care."""
    trials = [trial(0, 5.0, (1, 3)), trial(1, 5.0, (0, 2), 3), trial(0, 0.0, (2, 3)), trial(1, 0.0, (1, 4))]
    rng = np.random.default_rng(0)
    rates = [rng.random((len(t.labels), 3)).astype(np.float32) for t in trials]
    for r in rates:
        r[:, 1] = 0.5
    pools = {0: [], 1: []}
    for t, r in zip(trials, rates):
        start, stop = t.periods["stimulus"]
        pools[t.info["ground_truth"]] += [[float(v) for v in row] for row in r[start:stop]]
    assert (len(pools[0]), len(pools[1])) == (3, 5)
    expected = []
    for unit in range(3):
        a, b = ([row[unit] for row in pools[side]] for side in (0, 1))
        spread = math.sqrt((statistics.pvariance(a) + statistics.pvariance(b) + 1e-7) / 2)
        expected.append((statistics.mean(a) - statistics.mean(b)) / spread)
    found = analysis.selectivity(by_hand(trials, [1, 1, 1, 1], rates))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found[1] == 0
    assert abs(found[0]) > 0.1
    swapped = [t._replace(info={"ground_truth": 1 - t.info["ground_truth"]}) for t in trials]
    np.testing.assert_allclose(analysis.selectivity(by_hand(swapped, [1, 1, 1, 1], rates)), -found, atol=1e-15)


def test_d_prime_is_none_where_it_has_no_meaning():
    rates = [np.ones((4, 2))] * 2
    assert analysis.selectivity(by_hand([trial(0, 5.0), trial(0, 5.0)], [1, 1], rates)) is None
    assert analysis.selectivity(by_hand([trial(None, 5.0), trial(None, 5.0)], [1, 1], rates)) is None
    other = trial(1, 5.0)._replace(periods={"fixation": (0, 4)})
    assert analysis.selectivity(by_hand([trial(0, 5.0), other], [1, 1], rates)) is None
    empty = [trial(0, 5.0, (2, 2)), trial(1, 5.0, (1, 2))]
    assert analysis.selectivity(by_hand(empty, [1, 1], rates)) is None


def test_unit_order_sorts_within_e_and_within_i():
    d_prime = np.array([0.3, -1.0, 2.0, 0.0, 0.0, 5.0, -5.0])
    np.testing.assert_array_equal(analysis.unit_order(d_prime, 5), [1, 3, 4, 0, 2, 6, 5])
    np.testing.assert_array_equal(analysis.unit_order(d_prime, 1), [0, 6, 1, 3, 4, 2, 5])


# --- the evaluation run ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """A network that makes every choice now and then."""
    config = ei.ModelConfig(sigma_rec=0.4)
    params = ei.init_params(config, 1)
    params.b_out[...] = [-0.3, 0.1, 0]
    return config, params


def everything(evaluation):
    trials = [t.inputs.tobytes() for t in evaluation.trials]
    return (
        evaluation.choices.tobytes(),
        evaluation.targets.tobytes(),
        [r.tobytes() for r in evaluation.rates],
        trials,
    )


@pytest.mark.parametrize("env_kwargs", [None, tasks.default_env_kwargs(PDM, None)], ids=["500/500", "training timing"])
def test_evaluation_is_the_same_every_time_and_for_any_threads(network, env_kwargs):
    before = numba.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 4, 4):
            numba.set_num_threads(threads)
            results.append(everything(ei.evaluate(*network, env_kwargs=env_kwargs, n_trials=70)))
    finally:
        numba.set_num_threads(before)
    assert all(result == results[0] for result in results)
    other = everything(ei.evaluate(*network, env_kwargs=env_kwargs, n_trials=70, seed=2))
    assert all(a != b for a, b in zip(other, results[0]))


def test_evaluation_runs_each_trial_from_the_start_and_reads_its_last_step(network):
    """Without noise, each trial alone gives what it gave among the others, whatever their lengths."""
    config, params = ei.ModelConfig(sigma_rec=0.0), network[1].copy()
    env_kwargs = tasks.default_env_kwargs(PDM, None)
    last = np.stack([rates[-1, :40] for rates in ei.evaluate(config, params, env_kwargs=env_kwargs, n_trials=50).rates])
    params.b_out[...] = -np.median(last @ params.w_out.T, axis=0)  # so that the outputs are close to one another
    found = ei.evaluate(config, params, env_kwargs=env_kwargs, n_trials=50)
    assert len({len(t.labels) for t in found.trials}) > 5
    for t, choice, target, rates in zip(found.trials, found.choices, found.targets, found.rates):
        run = ei.forward(config, params, t.inputs[:, None])
        np.testing.assert_allclose(rates, run.rates[:, 0], rtol=1e-5, atol=1e-6)
        assert choice == run.outputs[-1, 0].argmax()
        assert target == t.labels[-1] == 1 + t.info["ground_truth"]
    np.testing.assert_array_equal(found.correct, found.choices == found.targets)
    assert len(set(found.choices)) > 1


def test_every_trial_has_noise_of_its_own(network):
    found = ei.evaluate(*network, n_trials=1201)  # more than one chunk
    first = np.stack([rates[0] for rates in found.rates])  # all get the same first input
    assert len(np.unique(first, axis=0)) == 1201
    alone = ei.evaluate(*network, n_trials=30)
    np.testing.assert_array_equal([t.inputs for t in alone.trials], [t.inputs for t in found.trials[:30]])


def test_evaluation_of_another_task():
    config = ei.ModelConfig(n_in=5)
    found = ei.evaluate(config, ei.init_params(config), "ContextDecisionMaking-v0", {"dt": 20}, 40)
    assert len(found.trials) == len(found.rates) == 40
    assert analysis.performance(found)["n_trials"] == 40
    assert analysis.psychometric(found) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": 0}, "n_trials must be an integer from 1 .*, found 0"),
        ({"n_trials": -5}, "n_trials must be an integer from 1"),
        ({"seed": -1}, "seed must be an integer"),
        ({"task": "nope-v0"}, "unknown task 'nope-v0'"),
        ({"task": "ContextDecisionMaking-v0"}, "task ContextDecisionMaking-v0 has 5 inputs, the network 3"),
        ({"env_kwargs": {"colour": 1}}, "colour"),
    ],
)
def test_bad_arguments(network, options, message):
    with pytest.raises(ValueError, match=message):
        ei.evaluate(*network, **options)
