"""Evaluation under conditions of one's own: trials, lesions, currents, initial states, noise, dt, what is kept."""

import dataclasses

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import analysis, evaluation, tasks

H = 7


@pytest.fixture(scope="module")
def network():
    config = ei.ModelConfig(n_in=3, n_hidden=H, n_out=3, train_x0=True)
    params = ei.init_params(config, 1, "float64")
    params.x0[...] = np.random.default_rng(0).normal(size=H)
    return config, params


def loops(config, params, inputs, noise, x0, current):
    """The forward pass by hand, one trial at a time."""
    alpha, weights = config.alpha, np.abs(params.w_rec) * ei.sign_mask(config)
    T, B, _ = inputs.shape
    states, outputs = np.zeros((T, B, H)), np.zeros((T, B, config.n_out))
    for b in range(B):
        x = x0[b]
        for t in range(T):
            r = np.maximum(x, 0)
            c = weights @ r + params.b_rec + params.w_in @ inputs[t, b] + current[t, b]
            if config.dynamics == "brainpy":
                x = (1 - alpha) * r + alpha * c + noise[t, b]
            else:
                x = (1 - alpha) * x + alpha * (c + params.b_in) + noise[t, b]
            states[t, b], outputs[t, b] = x, params.w_out @ np.maximum(x, 0)[: config.n_exc] + params.b_out
    return states, outputs


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_forward_from_a_state_with_a_current(network, backend, dynamics):
    config, params = dataclasses.replace(network[0], dynamics=dynamics), network[1]
    rng = np.random.default_rng(2)
    inputs, noise = rng.normal(size=(5, 3, 3)), 0.1 * rng.normal(size=(5, 3, H))
    before = noise.copy()
    each, one, current = rng.normal(size=(3, H)), rng.normal(size=H), rng.normal(size=(5, 3, H))
    for x0, given in ((each, current), (one, current[:, 0]), (one, current[0, 0]), (None, current), (each, None)):
        run = ei.forward(config, params, inputs, noise, backend, x0=x0, current=given)
        start = np.broadcast_to(params.x0 if x0 is None else x0, (3, H))
        shaped = np.zeros(H) if given is None else given[:, None] if given.ndim == 2 else given
        states, outputs = loops(config, params, inputs, noise, start, np.broadcast_to(shaped, (5, 3, H)))
        np.testing.assert_allclose(run.states, states, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(run.outputs, outputs, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(noise, before)  # the user's array is left alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": np.zeros(6)}, r"x0 must have shape \(7,\)"),
        ({"x0": np.zeros((2, H))}, r"x0 must have shape \(7,\) or \(3, 7\), found \(2, 7\)"),
        ({"x0": 1.0}, "x0 must have shape"),
        ({"x0": np.full(H, np.inf)}, "x0 must be finite"),
        ({"current": np.zeros((4, H))}, r"current must have shape \(5, 7\)"),
        ({"current": np.zeros((5, 2, H))}, r"current must have shape \(5, 3, 7\)"),
        ({"current": np.full(H, np.nan)}, "current must be finite"),
        ({"current": 1.0}, "current must have shape"),
    ],
)
def test_bad_states_and_currents_are_named(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        ei.forward(*network, np.zeros((5, 3, 3)), **arguments)


def test_an_evaluation_is_told_in_a_line(network):
    config, params = network
    evaluation = ei.evaluate(config, params, n_trials=3, keep=("rates", "outputs"))
    assert repr(evaluation) == (
        f"Evaluation(3 trials from rest, {evaluation.correct.mean():.4f} right; rates, outputs kept)"
    )


def test_trials_of_ones_own_are_those_that_are_run(network):
    drawn = ei.evaluate(*network, n_trials=12, seed=3)
    again = ei.evaluate(*network, trials=drawn.trials, seed=3)
    for one, other in zip(drawn.rates, again.rates):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(drawn.choices, again.choices)
    bare = [ei.Trial(np.ones((4, 3)), np.array([0, 0, 1, 2], np.uint8), {}, {})]
    run = ei.evaluate(*network, trials=bare, noise=False)
    expected = ei.forward(*network, np.ones((4, 1, 3)))
    np.testing.assert_allclose(run.rates[0], expected.rates[:, 0])
    assert run.targets.tolist() == [2]


def trial(**changes):
    whole = {"inputs": np.zeros((4, 3)), "labels": np.zeros(4, int), "info": {}, "periods": {}, "dt": 20.0}
    return ei.Trial(**{**whole, **changes})


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "trials must hold at least one"),
        (3, "trials must be a list of Trial, found int"),
        ([trial(), (1, 2)], r"trials\[1\] must be a Trial, found tuple"),
        ([trial(inputs=np.zeros((4, 2)))], r"trials\[0\].inputs must have shape \(any, 3\), found \(4, 2\)"),
        ([trial(inputs=np.full((4, 3), np.nan))], r"trials\[0\].inputs must be finite"),
        ([trial(labels=np.zeros(3, int))], r"trials\[0\].labels must have shape \(4,\)"),
        ([trial(labels=np.zeros(4))], r"trials\[0\].labels must be integers in 0 .. 2, found float64"),
        ([trial(labels=np.full(4, 3))], r"trials\[0\].labels must be integers in 0 .. 2"),
        ([trial(info=None)], r"trials\[0\].info must be a dict, found NoneType"),
        ([trial(periods=[1])], r"trials\[0\].periods must be a dict, found list"),
        ([trial(dt=10.0)], r"trials\[0\].dt must be that of the network, 20 ms, found 10"),
        ([trial(inputs=np.zeros((0, 3)), labels=np.zeros(0, int))], r"trials\[0\] must have at least one time step"),
    ],
)
def test_trials_that_do_not_fit_are_named(network, trials, message):
    with pytest.raises(ValueError, match=message):
        ei.evaluate(*network, trials=trials)


@pytest.mark.parametrize("span", [(200, 400), (0, 5), (3, 2), (-1, 3), (0.0, 2.0), (1,), "ab", None])
def test_a_period_that_is_not_within_the_trial_is_refused_wherever_a_trial_is_read(network, span):
    """In ms, one step too long, reversed, negative, no time steps: it would be a stimulus of no time step at all."""
    config, params = network
    wrong = trial(labels=np.arange(4) % 2, periods={"cue": (0, 4), "stimulus": span})
    for read in (
        lambda: ei.evaluate(config, params, trials=[wrong]),
        lambda: ei.evaluate(config, params, lambda rng: wrong, n_trials=2),
        lambda: ei.make_batches(lambda rng: wrong),
        lambda: ei.pulse(wrong, "stimulus", [0], 1.0, H),
        lambda: analysis.held_inputs([wrong]),
    ):
        with pytest.raises(
            ValueError, match=r"period stimulus must lie within the trial's 4 time steps, .* not ms; found"
        ):
            read()
    empty, numpy = trial(periods={"stimulus": (4, 4)}), trial(periods={"stimulus": np.array([1, 4])})
    assert len(ei.evaluate(config, params, trials=[empty, numpy]).trials) == 2


def test_a_silenced_unit_sends_nothing_and_hears_all(network):
    config, params = network
    whole = ei.evaluate(config, params, n_trials=4, keep=("rates", "outputs", "states"))
    units = [1, 6]
    cut = ei.evaluate(config, params, n_trials=4, silence=units, keep=("rates", "outputs", "states"))
    lesioned = ei.evaluate(config, ei.silenced(config, params, units), n_trials=4, keep=("outputs", "states"))
    mask = np.isin(np.arange(H), units)
    by_mask = ei.evaluate(config, params, n_trials=4, silence=mask)
    for k in range(4):
        assert (cut.rates[k][:, units] == 0).all()
        np.testing.assert_array_equal(cut.outputs[k], lesioned.outputs[k])
        np.testing.assert_array_equal(cut.rates[k], by_mask.rates[k])
        assert not np.array_equal(cut.outputs[k], whole.outputs[k])
        assert (cut.states[k][:, units] != 0).any()
    assert (params.w_rec[:, units] != 0).any()  # the network itself is left alone
    nobody = ei.evaluate(config, params, n_trials=4, silence=[])
    np.testing.assert_array_equal(nobody.rates[0], whole.rates[0])
    # By hand: the weights that leave them are gone.
    inputs, noise = np.ones((5, 1, 3)), np.zeros((5, 1, H))
    copy = params.copy()
    copy.w_rec[:, units], copy.w_out[:, [1]] = 0, 0
    states, _ = loops(config, copy, inputs, noise, params.x0[None], np.zeros((5, 1, H)))
    np.testing.assert_allclose(ei.forward(config, ei.silenced(config, params, units), inputs).states, states)


@pytest.mark.parametrize(
    ("units", "message"),
    [([7], "must lie in 0 .. 6"), ([-1], "must lie in 0 .. 6"), ([0.5], "must be integers or an array of 7 bools"),
     (np.ones(6, bool), r"must have shape \(7,\)"), ("all", "must be integers")],
)  # fmt: skip
def test_bad_units_are_named(network, units, message):
    with pytest.raises(ValueError, match="silence " + message):
        ei.evaluate(*network, n_trials=2, silence=units)


def test_a_current_in_a_period_acts_from_then_on(network):
    config, params = network

    def push(trial):
        return ei.pulse(trial, "decision", [2], 3.0, H)

    plain = ei.evaluate(config, params, n_trials=3, noise=False)
    pushed = ei.evaluate(config, params, n_trials=3, noise=False, current=push)
    for k, trial in enumerate(plain.trials):
        start = trial.periods["decision"][0]
        np.testing.assert_array_equal(pushed.rates[k][:start], plain.rates[k][:start])
        assert (pushed.rates[k][start:] != plain.rates[k][start:]).any()
    constant = ei.evaluate(config, params, n_trials=3, noise=False, current=np.full(H, 0.5))
    by_bias = params.copy()
    by_bias.b_rec += 0.5
    same = ei.evaluate(config, by_bias, n_trials=3, noise=False)
    np.testing.assert_allclose(constant.rates[0], same.rates[0])
    with pytest.raises(ValueError, match="period must be one of fixation, stimulus, delay, decision, found 'go'"):
        ei.pulse(trial_of(config), "go", [0], 1.0, H)
    with pytest.raises(ValueError, match="current must have shape"):
        ei.evaluate(config, params, n_trials=2, current=np.zeros(3))


def trial_of(config):
    return ei.make_trials(tasks.TUTORIAL_TASK, 1)[0]


def test_without_noise_equal_trials_are_equal_and_with_it_they_are_not(network):
    twice = [trial(), trial()]
    quiet = ei.evaluate(*network, trials=twice, noise=False)
    noisy = ei.evaluate(*network, trials=twice)
    np.testing.assert_array_equal(quiet.rates[0], quiet.rates[1])
    assert not np.array_equal(noisy.rates[0], noisy.rates[1])
    with pytest.raises(ValueError, match="noise must be True or False"):
        ei.evaluate(*network, trials=twice, noise=1)


def test_another_dt_is_that_of_network_and_task(network):
    config, params = network
    fine = ei.evaluate(config, params, n_trials=3, dt=10, noise=False)
    assert fine.trials[0].dt == 10
    assert len(fine.trials[0].labels) == 2 * len(ei.evaluate(config, params, n_trials=3).trials[0].labels)
    steps = [ei.Trial(np.ones((n, 3)), np.zeros(n, int), {}, {}) for n in (2000, 100)]
    small, large = (ei.evaluate(config, params, trials=[t], noise=False, dt=dt).rates[0][-1]
                    for t, dt in zip(steps, (1, 20)))  # fmt: skip
    np.testing.assert_allclose(small, large, atol=1e-3)  # the same state at the end of 2 s
    with pytest.raises(ValueError, match="dt must be above 0 and at most tau"):
        ei.evaluate(config, params, n_trials=2, dt=500)
    given = ei.evaluate(config, params, env_kwargs={"dt": 20, "timing": {"fixation": 100}}, n_trials=2, dt=10)
    assert given.trials[0].periods["fixation"] == (0, 10)


def test_what_is_kept(network, monkeypatch):
    run = ei.evaluate(*network, n_trials=5, keep="outputs")
    assert run.rates == [None] * 5
    assert run.states is None
    assert [o.shape for o in run.outputs] == [(len(t.labels), 3) for t in run.trials]
    np.testing.assert_array_equal([o[-1].argmax() for o in run.outputs], run.choices)
    with pytest.raises(ValueError, match=r'has no rates: evaluate\(..., keep=\("rates",\)\)'):
        run.kept("rates")
    with pytest.raises(ValueError, match="keep must be one of rates, states, outputs, found 'noise'"):
        ei.evaluate(*network, n_trials=2, keep=("noise",))
    monkeypatch.setattr(evaluation, "MOST_KEPT", 2 * H * len(run.trials[0].labels))
    some = ei.evaluate(*network, n_trials=5, keep=("rates", "states"))
    assert [r is None for r in some.rates] == [False, True, True, True, True]
    assert some.kept("rates") is some.rates
    np.testing.assert_array_equal(np.maximum(some.states[0], 0), some.rates[0])


def test_no_choice_is_a_choice_that_was_due(network):
    run = ei.evaluate(*network, n_trials=3)
    run.choices, run.targets = np.array([0, -1, 1]), np.array([1, 2, 0])
    assert run.no_choice.tolist() == [True, True, False]
