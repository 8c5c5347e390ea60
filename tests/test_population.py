"""Measures of behaviour, populations and units: against scipy, plain loops and closed forms."""

import numpy as np
import pytest
import scipy.stats
from scipy.special import ndtr

import eirnn_np as ei
from eirnn_np import analysis
from eirnn_np.evaluation import Evaluation

H, DT = 7, 20.0


def made(n=40, seed=0, **options):
    """An evaluation made up by hand: trials of two lengths, coherence, context, rates and outputs of known form."""
    rng = np.random.default_rng(seed)
    trials, rates, outputs = [], [], []
    for i in range(n):
        T, start = (12, 4) if i % 3 else (9, 2)
        info = {"coh": float(rng.choice([-10.0, 5.0, 20.0])), "context": int(i % 2), "name": "ab"[i % 2]}
        labels = np.zeros(T, np.int64)
        labels[-2:] = 1 + (info["coh"] > 0)
        periods = {"stimulus": (start, start + 5), "delay": (3, 3), "decision": (T - 2, T)}
        trials.append(ei.Trial(np.zeros((T, 2), np.float32), labels, info, periods, DT))
        rates.append(rng.normal(size=(T, H)))
        outputs.append(rng.normal(size=(T, 3)))
    targets = np.array([trial.labels[-1] for trial in trials])
    choices = np.where(rng.random(n) < 0.7, targets, rng.integers(0, 3, n))
    return Evaluation(trials, choices, targets, rates, None, "rest", **{"outputs": outputs, **options})


def test_accuracy_by_one_key_and_by_two():
    e = made()
    rows = analysis.accuracy_by(e, "coh")
    assert [row["coh"] for row in rows] == [-10, 5, 20]
    assert sum(row["n_trials"] for row in rows) == 40
    for row in rows:
        members = [i for i, trial in enumerate(e.trials) if trial.info["coh"] == row["coh"]]
        assert row["n_correct"] == sum(e.choices[i] == e.targets[i] for i in members)
        assert row["no_choice"] == pytest.approx(np.mean([e.choices[i] == 0 for i in members]))
        low, high = row["interval_95"]
        assert low <= row["accuracy"] <= high
    both = analysis.accuracy_by(e, "name", "coh")
    assert [(row["name"], row["coh"]) for row in both][:2] == [("a", -10), ("a", 5)]
    assert sum(row["n_correct"] for row in both) == e.correct.sum()
    with pytest.raises(ValueError, match="no value 'cohs'; their info has coh, context, name"):
        analysis.accuracy_by(e, "cohs")
    with pytest.raises(ValueError, match="keys must name"):
        analysis.accuracy_by(e)


def curve(bias, threshold, low=0.0, high=0.0, n=4000, seed=0):
    rng, x = np.random.default_rng(seed), np.linspace(-20, 20, 9)
    p = low + (1 - low - high) * ndtr((x - bias) / threshold)
    return [{"value": v, "n_answered": n, "share": rng.binomial(n, q) / n} for v, q in zip(x, p)]


@pytest.mark.parametrize(("bias", "threshold"), [(0.0, 5.0), (3.0, 12.0), (-6.0, 2.0)])
def test_fit_finds_the_curve_that_made_the_choices(bias, threshold):
    fit = analysis.fit_psychometric(curve(bias, threshold))
    assert abs(fit.bias - bias) < 4 * fit.errors["bias"] < 1.0
    assert abs(fit.threshold - threshold) < 4 * fit.errors["threshold"] < 2.0
    assert fit(bias) == pytest.approx(0.5, abs=0.05)
    with_lapses = analysis.fit_psychometric(curve(bias, threshold, 0.1, 0.05), lapses=True)
    assert abs(with_lapses.low - 0.1) < 4 * with_lapses.errors["low"] + 0.005
    assert abs(with_lapses.high - 0.05) < 4 * with_lapses.errors["high"] + 0.005
    np.testing.assert_allclose(with_lapses([-1e6, 1e6]), [with_lapses.low, 1 - with_lapses.high])


def test_errors_of_the_fit_are_the_spread_over_repeats():
    fits = [analysis.fit_psychometric(curve(1.0, 6.0, n=200, seed=seed)) for seed in range(30)]
    for name in ("bias", "threshold"):
        spread = np.std([getattr(fit, name) for fit in fits])
        assert spread == pytest.approx(np.mean([fit.errors[name] for fit in fits]), rel=0.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "answers at two values"),
        ([{"value": 1, "n_answered": 3, "share": 0.5}], "answers at two values"),
        ([{"value": v, "n_answered": 3, "share": 1.0} for v in (1, 2)], "both answers"),
        ([{"value": v, "n_answered": 3, "share": float(v > 0)} for v in (-1, 1, 2)], "answered in both ways"),
    ],
)
def test_curves_that_cannot_be_fitted_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        analysis.fit_psychometric(rows)


def test_reaction_times_by_a_loop():
    e = made()
    for measure, threshold in (("output", 1.0), ("probability", 0.6)):
        found = analysis.reaction_times(e, threshold, measure=measure)
        for i, trial in enumerate(e.trials):
            z, expected = e.outputs[i], (np.nan, 0)
            for t in range(trial.periods["stimulus"][0], len(z)):
                value = np.exp(z[t]) / np.exp(z[t]).sum() if measure == "probability" else z[t]
                if max(value[1:]) >= threshold:
                    expected = (t - trial.periods["stimulus"][0] + 1) * DT, 1 + int(value[1] < value[2])
                    break
            np.testing.assert_equal((found.times[i], int(found.choices[i])), expected)
        assert np.isnan(found.times).any()
        rows = analysis.chronometric(e, found)
        assert [row["value"] for row in rows] == [-10, 5, 20]
        for row in rows:
            of = np.array([t.info["coh"] == row["value"] for t in e.trials])
            times = found.times[of & ~np.isnan(found.times)]
            assert row["n_reacted"] == len(times)
            assert row["mean"] == pytest.approx(times.mean())
            assert row["sem"] == pytest.approx(scipy.stats.sem(times))
    with pytest.raises(ValueError, match="event must be a period of every trial, found 'delay'"):
        analysis.reaction_times(e, event="delay")
    with pytest.raises(ValueError, match="has no outputs"):
        analysis.reaction_times(made(outputs=None))
    with pytest.raises(ValueError, match="of the same 40 trials"):
        analysis.chronometric(e, analysis.ReactionTimes(np.zeros(3), np.zeros(3)))
    bare = made()
    bare.trials = [trial._replace(dt=None) for trial in bare.trials]
    with pytest.raises(ValueError, match="dt is not known"):
        analysis.reaction_times(bare)
    np.testing.assert_array_equal(analysis.reaction_times(bare, dt=10.0).times, analysis.reaction_times(e).times / 2)


def test_principal_components_are_those_of_the_covariance():
    x = np.random.default_rng(0).normal(size=(50, H)) @ np.random.default_rng(1).normal(size=(H, H))
    found = analysis.pca(x, 3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(found.variances, values[::-1])
    for axis, vector in zip(found.axes, vectors.T[::-1]):
        assert abs(axis @ vector) == pytest.approx(1)
        assert axis[np.abs(axis).argmax()] > 0
    np.testing.assert_allclose(found.project(x).var(axis=0, ddof=1), values[::-1][:3])
    assert found.explained.sum() == pytest.approx(1)
    assert analysis.participation_ratio(x) == pytest.approx(values.sum() ** 2 / (values**2).sum())
    line = np.outer(np.arange(9.0), np.arange(H))
    assert analysis.participation_ratio(line) == pytest.approx(1)
    assert analysis.participation_ratio(np.concatenate([np.eye(H), -np.eye(H)])) == pytest.approx(H)
    e = made()
    np.testing.assert_allclose(analysis.pca(e).variances, analysis.pca(np.concatenate(e.rates)).variances)
    for wrong in (np.zeros(5), np.zeros((1, 5)), np.full((3, 2), np.nan)):
        with pytest.raises(ValueError, match="x must"):
            analysis.pca(wrong)
    with pytest.raises(ValueError, match="n_components must be"):
        analysis.pca(x, 8)


def test_averages_are_aligned_and_count_who_is_there():
    e = made()
    found = analysis.averages(e, "context", before=100, after=160)
    assert set(found.means) == {0, 1}
    np.testing.assert_array_equal(found.time, np.arange(-5, 8) * DT)
    for context, mean in found.means.items():
        for k, step in enumerate(range(-5, 8)):
            rows = [
                e.rates[i][t.periods["stimulus"][0] + step] for i, t in enumerate(e.trials)
                if t.info["context"] == context and 0 <= t.periods["stimulus"][0] + step < len(t.labels)
            ]  # fmt: skip
            assert found.counts[context][k] == len(rows)
            if rows:
                np.testing.assert_allclose(mean[k], np.mean(rows, axis=0))
            else:
                assert np.isnan(mean[k]).all()
    assert (found.counts[0] == 0).any()
    right = analysis.averages(e, ["name", "coh"], "decision", 0, 40, only=e.correct)
    assert len(right.means) == 6
    assert sum(counts[0] for counts in right.counts.values()) == e.correct.sum()
    assert list(analysis.averages(e).means) == ["all"]
    with pytest.raises(ValueError, match="event must be a period"):
        analysis.averages(e, event="go")
    with pytest.raises(ValueError, match="window must have a time step"):
        analysis.averages(e, before=0, after=0)


def test_targeted_axes_find_what_was_put_in():
    rng, N, T, H = np.random.default_rng(0), 200, 10, 9
    choice, coherence = rng.choice([-1.0, 1.0], N), rng.normal(size=N)
    a, b = np.linalg.qr(rng.normal(size=(H, 2)))[0].T
    ramp, bump = np.linspace(0, 1, T), np.sin(np.linspace(0, np.pi, T))
    x = choice[:, None, None] * ramp[:, None] * a + coherence[:, None, None] * bump[:, None] * b
    x = x + 0.01 * rng.normal(size=x.shape)
    scale = x.std(axis=(0, 1))
    found = analysis.targeted_axes(x, {"choice": choice, "coherence": coherence}, 4, orthogonal=False)
    for axis, truth in zip(found.axes, (a, b)):
        assert axis @ (truth / scale) / np.linalg.norm(truth / scale) > 0.999
    assert found.names == ["choice", "coherence"]
    assert found.at[0] == T - 1  # the ramp's end
    assert found.at[1] in (4, 5)  # the bump's top
    orthogonal = analysis.targeted_axes(x, {"choice": choice, "coherence": coherence}, None)
    np.testing.assert_allclose(orthogonal.axes @ orthogonal.axes.T, np.eye(2), atol=1e-12)
    assert orthogonal.axes[0] @ found.axes[0] > 0.99
    assert orthogonal.project(x).shape == (N, T, 2)
    z = (x - x.mean(axis=(0, 1))) / scale
    design = np.column_stack([choice, coherence, np.ones(N)])
    expected = np.linalg.solve(design.T @ design, design.T @ z[:, 3])
    np.testing.assert_allclose(orthogonal.weights[:, 3], expected[:2], atol=1e-10)
    with pytest.raises(ValueError, match=r"regressors\['c'\] must vary"):
        analysis.targeted_axes(x, {"c": np.ones(N)})
    with pytest.raises(ValueError, match="must not be sums of one another"):
        analysis.targeted_axes(x, {"a": choice, "b": 2 * choice})
    with pytest.raises(ValueError, match=r"regressors\['a'\] must have shape \(200,\)"):
        analysis.targeted_axes(x, {"a": choice[:-1]})


def test_tuning_is_scipy_s_regression_with_its_correction():
    e = made()
    for i, trial in enumerate(e.trials):  # two units are tuned, one never varies
        e.rates[i][:, 1] += 0.3 * trial.info["coh"]
        e.rates[i][:, 4] -= 0.1 * trial.info["coh"]
        e.rates[i][:, 6] = 2.0
    found = analysis.tuning(e, "coh")
    x = np.array([trial.info["coh"] for trial in e.trials])
    y = np.array([r[slice(*t.periods["stimulus"])].mean(axis=0) for t, r in zip(e.trials, e.rates)])
    for unit in range(H - 1):
        theirs = scipy.stats.linregress(x, y[:, unit])
        np.testing.assert_allclose(
            (found.slope[unit], found.correlation[unit], found.p[unit]), (theirs.slope, theirs.rvalue, theirs.pvalue)
        )
    assert (found.slope[6], found.p[6], found.q[6]) == (0, 1, 1)
    assert found.tuned[[1, 4]].all()
    np.testing.assert_allclose(found.q, scipy.stats.false_discovery_control(found.p))
    np.testing.assert_allclose(analysis.tuning(e, "coh", correction="bonferroni").q, np.minimum(7 * found.p, 1))
    np.testing.assert_allclose(analysis.tuning(e, "coh", correction="none").q, found.p)
    with pytest.raises(ValueError, match="no number 'name'"):
        analysis.tuning(e, "name")
    with pytest.raises(ValueError, match="correction must be one of"):
        analysis.tuning(e, "coh", correction="fdr")


def test_no_unit_is_tuned_where_nothing_is_there():
    """Over 200 sets of 7 units, the share of sets with any unit called tuned is about alpha, not 7 alpha."""
    hits = 0
    for seed in range(200):
        e = made(20, seed)
        hits += analysis.tuning(e, "coh", correction="bonferroni").tuned.any()
    assert hits < 25  # 10 expected, 60 without a correction


def test_lesion_and_perturbation_curves_are_evaluations_of_the_same_trials():
    config = ei.ModelConfig(n_hidden=H)
    params = ei.init_params(config, 0)
    trials = ei.make_trials("PerceptualDecisionMaking-v0", 6)
    rows = analysis.lesion_curve(config, params, trials, [0, 2, 7], n_repeats=3)
    assert [len(row["accuracy"]) for row in rows] == [1, 3, 1]
    assert rows[0]["mean"] == ei.evaluate(config, params, trials=trials).correct.mean()
    assert rows[2]["mean"] == ei.evaluate(config, params, trials=trials, silence=range(H)).correct.mean()
    assert rows == analysis.lesion_curve(config, params, trials, [0, 2, 7], n_repeats=3)
    ordered = analysis.lesion_curve(config, params, trials, [1], order=[3, 1])
    assert ordered[0]["accuracy"] == [ei.evaluate(config, params, trials=trials, silence=[3]).correct.mean()]
    assert len(analysis.lesion_curve(config, params, trials, units="inhibitory")) == 3  # 0, 1 and 2 units
    found = analysis.perturbation_curve(config, params, trials, [0.0, 5.0], [0, 1])
    assert [row["amplitude"] for row in found] == [0, 5]
    assert found[0]["accuracy"] == rows[0]["mean"]
    with pytest.raises(ValueError, match="numbers must be an integer from 0 to 2"):
        analysis.lesion_curve(config, params, trials, [3], units="inhibitory")
    with pytest.raises(ValueError, match="units must be one of"):
        analysis.lesion_curve(config, params, trials, units="both")
    with pytest.raises(ValueError, match="period must be one of"):
        analysis.perturbation_curve(config, params, trials, [1.0], [0], "sleep")
