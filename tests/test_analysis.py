"""Numbers after training: intervals, ideal observer, selectivity, psychometric shares, the evaluation run."""

import dataclasses
import math
import statistics

import numba
import numpy as np
import pytest
from scipy import stats

import eirnn_np as ei
from eirnn_np import analysis, tasks
from eirnn_np import evaluation as evaluation_module
from eirnn_np.evaluation import respond

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
    "change",
    [
        {},
        {"sigma": 0.5},
        {"cohs": [2.0, 20.0]},
        {"dt": 50},
        {"timing": tasks.TUTORIAL_TIMING},
        {"timing": {"stimulus": ["uniform", [20, 1500]], "fixation": [20, 60]}},
        {"timing": {"stimulus": ["truncated_exponential", [200, 40]]}, "dt": 40},
        {"timing": {"stimulus": 2000}},
    ],
    ids=["tutorial", "sigma", "cohs", "dt", "training timing", "uniform", "exponential", "2,000 ms"],
)
def test_ideal_observer_agrees_with_the_optimal_decision_on_trials(change):
    env_kwargs = {**tasks.evaluation_env_kwargs(PDM, None), **change}
    trials = ei.make_trials(PDM, 6000, 3, env_kwargs)
    choices, targets = optimal_choices(trials), np.array([t.labels[-1] for t in trials])
    evaluation = analysis.Evaluation(trials, choices, targets, [])
    ideal = analysis.task_ideal_observer(PDM, env_kwargs, evaluation)
    if not change:
        assert round(ideal["accuracy"], 4) == 0.8645
    if change == {"timing": {"stimulus": 2000}}:
        assert round(ideal["accuracy"], 3) == 0.896
    found = analysis.performance(evaluation)
    for row in [{"coherence": None, **found}, *found["by_coherence"]]:
        p = ideal["accuracy"] if row["coherence"] is None else ideal["by_coherence"][row["coherence"]]
        assert abs(row["accuracy"] - p) < 4 * math.sqrt(p * (1 - p) / row["n_trials"]) + 1e-9, row
    assert {row["coherence"] for row in found["by_coherence"]} == set(ideal["by_coherence"])


def test_ideal_observer_is_silent_where_it_does_not_know():
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
    assert [row["unanswered"] for row in rows] == [0.5, 0, 0, 0]
    for row, k in zip(rows, (0, 1, 1, 1)):
        np.testing.assert_allclose(row["interval_95"], analysis.wilson_interval(k, row["n_answered"]))


def test_a_task_without_coherence_or_two_choices_has_no_psychometric_curve():
    for trials, message in (
        ([trial(0, None), trial(1, None)], "the trials have no number 'coh'; their info has ground_truth"),
        ([trial(None, 5.0)] * 2, "a psychometric curve is for two choices, told by 'ground_truth'"),
        ([trial(2, 5.0), trial(0, 5.0)], "a psychometric curve is for two choices"),
    ):
        found = by_hand(trials, [1, 2])
        with pytest.raises(ValueError, match=message):
            analysis.psychometric(found)
        assert analysis.where_it_is(analysis.psychometric, found) is None
    with pytest.raises(ValueError, match="no number 'contrast'"):
        analysis.psychometric(by_hand([trial(0, 5.0), trial(1, 5.0)], [1, 2]), key="contrast")


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


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([trial(0, 5.0), trial(0, 5.0)], r"ground truth 0 and 1, found \[0\]; see tuning"),
        ([trial(None, 5.0), trial(None, 5.0)], "the trials have no number 'ground_truth'; their info has coh"),
        ([trial(0, 5.0), trial(1, 5.0)._replace(periods={"fixation": (0, 4)})], 'a period "stimulus", found fixation'),
        ([trial(0, 5.0, (2, 2)), trial(1, 5.0, (1, 2))], "no rates are kept of the stimulus .* ground truth 0"),
    ],
)
def test_d_prime_is_refused_where_it_has_no_meaning(trials, message):
    found = by_hand(trials, [1, 1], [np.ones((4, 2))] * 2)
    with pytest.raises(ValueError, match=message):
        analysis.selectivity(found)
    assert analysis.where_it_is(analysis.selectivity, found) is None


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
    assert analysis.where_it_is(analysis.psychometric, found) is None


def test_a_trial_gives_the_same_whatever_runs_beside_it(network):
    """Noise goes with the trial's own number, whatever the lengths and the number of the others."""
    env_kwargs = {"dt": 20, "timing": {**tasks.TUTORIAL_TIMING, "decision": ["uniform", [100, 9000]]}}
    all_of_them = ei.evaluate(*network, env_kwargs=env_kwargs, n_trials=400)
    assert len({len(trial.labels) for trial in all_of_them.trials}) > 256
    half = ei.evaluate(*network, env_kwargs=env_kwargs, n_trials=200)
    np.testing.assert_array_equal(half.choices, all_of_them.choices[:200])
    for one, two in zip(half.rates, all_of_them.rates):
        np.testing.assert_array_equal(one, two)


def test_noise_of_a_trial_is_that_of_its_number(network, monkeypatch):
    """Up to the last of 10**7 trials and beyond; the key is one that no training with a 32-bit seed has."""
    config, params = network
    trials = ei.make_trials(PDM, 3, 0, {"dt": 20})
    key = tasks.evaluation_noise_seed(5)
    assert key >> 32 == tasks.EVALUATE
    assert key & 0xFFFFFFFF == 5
    for place in (0, 2):
        T = len(trials[place].labels)
        noise = ei.recurrent_noise(config, key, place, T, 1)
        expected = ei.forward(config, params, trials[place].inputs[:, None], noise).rates[:, 0]
        np.testing.assert_array_equal(respond(config, params, trials, 5).rates[place], expected)
    ei.recurrent_noise(config, key, 10**7, 1, 1)
    with pytest.raises(ValueError, match=r"n_trials must be an integer from 1 to 2\*\*32 - 1"):
        ei.evaluate(*network, n_trials=2**32)
    with pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\*\*32 - 1"):
        ei.evaluate(*network, seed=2**32)


def test_evaluation_shares_no_trial_with_training(network):
    """Whatever the seeds: those that once were streams of training too, and those of runs."""
    trained, env_kwargs = set(), tasks.default_env_kwargs(PDM, None)
    for seed in (*range(0, 64, 16), *((tasks.TRAIN, seed) for seed in (0, 1, 17))):
        for _, (inputs, _) in zip(range(15), ei.make_batches(batch_size=16, seq_len=100, seed=seed)):
            trained |= {u.tobytes() for u in inputs.reshape(-1, 3) if u[1] != 0}

    def noisy(trials):
        found = {u.tobytes() for trial in trials for u in trial.inputs if u[1] != 0}
        assert len(found) > 400
        return found

    for seed in (0, 1, 17, (tasks.TRAIN, 1)):  # such streams would be seen
        assert noisy(ei.make_trials(PDM, 40, seed, env_kwargs)) <= trained
    for seed in (0, 1, 17, tasks.TRAIN):
        for kwargs in (env_kwargs, None):
            assert not trained & noisy(ei.evaluate(*network, env_kwargs=kwargs, n_trials=40, seed=seed).trials)


# --- in the stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 20, 47])
def test_in_the_stream_the_state_is_carried_over(network, monkeypatch, n):
    """One long forward pass by hand for each column, whatever fits side by side."""
    config, params = network
    trials = ei.make_trials(PDM, n, 4, tasks.default_env_kwargs(PDM, None))
    found = respond(config, params, trials, 9, "stream")
    key = tasks.evaluation_noise_seed(9)
    for first in range(0, n, 20):
        column = [(first - 1) % n, *range(first, min(first + 20, n))]
        inputs = np.concatenate([trials[i].inputs for i in column])[:, None]
        noise = np.concatenate([ei.recurrent_noise(config, key, i, len(trials[i].labels), 1) for i in column])
        run = ei.forward(config, params, inputs, noise)
        at = len(trials[column[0]].labels)
        for i in column[1:]:
            T = len(trials[i].labels)
            np.testing.assert_array_equal(found.actions[i], run.outputs[at : at + T, 0].argmax(axis=-1))
            np.testing.assert_array_equal(found.rates[i], run.rates[at : at + T, 0])
            at += T
    monkeypatch.setattr(evaluation_module, "MOST_NUMBERS", 1)  # one column at a time
    again = respond(config, params, trials, 9, "stream", kept=1)
    np.testing.assert_array_equal(again.choices, found.choices)
    assert [rates is None for rates in again.rates] == [False] + [True] * (n - 1)


def test_a_network_that_remembers_the_last_trial_differs_in_the_stream():
    """Its first unit is switched on by the cue of the first trial for good, and only then does it answer 1."""
    config = ei.ModelConfig(n_in=3, n_hidden=3, n_exc=2, sigma_rec=0.0)
    params = ei.init_params(config)
    params.flat[...] = 0
    params.w_in[0, 0], params.w_rec[0, 1], params.w_rec[1, 0] = 1.0, 1.2, 1.2  # grows once it is on
    params.w_out[1, 0], params.b_out[...] = 1.0, [1e4, 0, 0]
    alone, stream = (ei.evaluate(config, params, n_trials=60, start=start) for start in ("rest", "stream"))
    assert (alone.choices == 0).all()
    assert (stream.choices[30:40] == 1).all()
    with pytest.raises(ValueError, match="start must be one of rest, stream, found 'warm'"):
        ei.evaluate(config, params, start="warm")


# --- what an accuracy means ------------------------------------------------------------------------


def acting(trials, actions):
    actions = [np.array(each) for each in actions]
    targets = np.array([t.labels[-1] for t in trials])
    return analysis.Evaluation(trials, np.array([each[-1] for each in actions]), targets, None, actions)


def labelled(labels, periods=None, dt=20.0):
    return tasks.Trial(np.zeros((len(labels), 1), np.float32), np.array(labels), {}, periods or {}, dt)


def test_accuracy_that_a_constant_answer_gets():
    trials = [labelled([0, 0, 1, 1])] * 3 + [labelled([0, 0, 0, 0], {"a": (0, 2), "b": (2, 4), "c": (4, 4)})]
    found = analysis.performance(acting(trials, [[0, 0, 1, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 0]]))
    assert found["constant"] == {"answer": 1, "accuracy": 0.75}
    assert found["accuracy"] == 0.75
    assert found["no_choice"] == 0.25
    assert found["steps_right"]["share"] == 0.5  # the first and the last; what is done before does not count
    assert found["steps_right"]["constant"] == 0.75
    assert found["step_accuracy"] == (1 + 0.5 + 0.5 + 1) / 4
    assert found["timing"] is None


def test_timing_error_by_hand():
    """Labels of one step at 2, 4 and 3, after which a trial ends in 0, as those of ReadySetGo-v0."""
    trials = [labelled([0, 0, 1, 0, 0]), labelled([0, 0, 0, 0, 1, 0]), labelled([0, 0, 0, 1, 0])]
    never = analysis.performance(acting(trials, [[0] * 5, [0] * 6, [0] * 5]))
    assert (never["accuracy"], never["constant"]["accuracy"], never["steps_right"]["share"]) == (1, 1, 0)
    assert never["timing"] == {"n_trials": 3, "never_acts": 1.0, "mean_ms": None, "sd_ms": None}
    timing = analysis.timing_error(acting(trials, [[0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0], [0] * 5]))
    assert timing["never_acts"] == pytest.approx(1 / 3)
    np.testing.assert_allclose((timing["mean_ms"], timing["sd_ms"]), (-20, 40))  # +20 and -60 ms
    assert analysis.timing_error(acting([trials[0], trials[0]], [[0] * 5, [0] * 5])) is None  # always the same time
    assert analysis.timing_error(acting([t._replace(dt=None) for t in trials], [[0] * 5, [0] * 6, [0] * 5])) is None


@pytest.mark.parametrize("task", ["ReadySetGo-v0", "MotorTiming-v0", "OneTwoThreeGo-v0"])
def test_a_network_that_always_does_the_same_looks_good_in_no_task_about_time(task):
    config = ei.ModelConfig(n_in=4 if task == "MotorTiming-v0" else 3, n_out=2, n_hidden=5)
    params = ei.init_params(config)
    params.w_out[...] = 0
    for action in (0, 1):
        params.b_out[...] = [1 - action, action]
        found = analysis.performance(ei.evaluate(config, params, task, n_trials=40))
        assert found["constant"]["accuracy"] == 1
        timing = found["timing"]
        assert timing["never_acts"] == 1 - action
        assert timing["mean_ms"] is None if action == 0 else timing["mean_ms"] < -1000


@pytest.mark.parametrize("bad", ["tie", "nan", "inf"])
def test_outputs_without_one_largest_are_no_action(bad):
    outputs = np.array([[[0.5, 1.0, 0.2]], [[2.0, 1.0, 0.0]]])
    outputs[1, 0, {"tie": 1, "nan": 0, "inf": 2}[bad]] = {"tie": 2.0, "nan": np.nan, "inf": np.inf}[bad]
    np.testing.assert_array_equal(evaluation_module._actions(outputs), [[1], [-1]])


def test_a_dead_network_is_right_of_nothing():
    config = ei.ModelConfig(n_out=2)
    params = ei.init_params(config)
    params.flat[...] = 0
    found = ei.evaluate(config, params, "GoNogo-v0", n_trials=1)  # of which half end in "do nothing"
    assert found.choices.tolist() == [-1]
    assert analysis.performance(found)["accuracy"] == 0


# --- silence ---------------------------------------------------------------------------------------


def test_an_observer_that_is_silent_half_of_the_time_is_right_when_it_answers():
    trials = ei.make_trials("ContextDecisionMaking-v0", 4000, 0, {"dt": 50, "use_expl_context": True})
    targets = np.array([t.labels[-1] for t in trials])
    choices = np.where(np.random.default_rng(0).random(4000) < 0.5, targets, 0)
    evaluation = analysis.Evaluation(trials, choices, targets, None)
    curves = analysis.psychometric(evaluation, key="coh_1", within="context")
    assert list(curves) == [0, 1]
    for rows in curves.values():
        assert [row["value"] for row in rows] == [-50, -15, -5, 5, 15, 50]
        for row in rows:
            assert row["share"] == (row["value"] > 0)
            assert abs(row["unanswered"] - 0.5) < 4 * 0.5 / math.sqrt(row["n_trials"])
            assert row["n_answered"] == round(row["n_trials"] * (1 - row["unanswered"]))
    silent = analysis.Evaluation(trials, 0 * choices, targets, None)
    for row in analysis.psychometric(silent, key="coh_2", sign=None):
        assert (row["share"], row["interval_95"], row["unanswered"], row["n_answered"]) == (None, None, 1, 0)
    other = analysis.psychometric(evaluation, key="coh_1", sign="other_choice")
    sides = np.array([t.info["other_choice"] for t in trials])
    members = (sides == 2) & (np.array([t.info["coh_1"] for t in trials]) == 15) & (choices != 0)
    row = next(row for row in other if row["value"] == 15)
    assert row["n_answered"] == members.sum()
    assert row["share"] == np.mean(choices[members] == 2)
    for names in ({"key": "cohh"}, {"key": "coh_1", "within": "rule"}, {"key": "coh_1", "sign": "side"}):
        with pytest.raises(ValueError, match=r"no number '\w+'; their info has coh_1, coh_2, context"):
            analysis.psychometric(evaluation, **names)


# --- dt --------------------------------------------------------------------------------------------


def test_dt_is_one_for_network_and_task(network):
    config, params = network
    fast = dataclasses.replace(config, dt=5)
    assert {trial.dt for trial in ei.evaluate(fast, params, n_trials=3).trials} == {5}
    assert {trial.dt for trial in ei.evaluate(config, params, env_kwargs={"sigma": 2}, n_trials=3).trials} == {20}
    with pytest.raises(ValueError, match="dt must be the same for network and task, found 5 and 20 ms"):
        ei.evaluate(fast, params, env_kwargs={"dt": 20}, n_trials=3)
    five_inputs = ei.ModelConfig(n_in=5)
    for source in ("auto", "neurogym"):
        batches = ei.make_batches("ContextDecisionMaking-v0", source=source)
        assert batches.dt == 100
        trainer = ei.Trainer(five_inputs, ei.init_params(five_inputs))
        with pytest.raises(ValueError, match="dt must be the same for network and batches, found 20 and 100 ms"):
            ei.train(trainer, batches, 1)
        assert trainer.k == 0


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
