"""The numbers of the paper's figures on made-up data whose answer is known."""

import json

import numpy as np
import pytest
from scipy import stats

from eirnn_np import song2016
from eirnn_np.song2016 import behaviour, claims, paper, population
from eirnn_np.song2016.names import read_seeds


def test_the_fit_finds_a_cumulative_gaussian():
    x, n = np.array([-16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16.0]), 100_000
    found = behaviour.fit_gaussian(x, n * stats.norm.cdf((x - 1.5) / 4), np.full(11, n))
    assert found["mu"] == pytest.approx(1.5, abs=1e-3)
    assert found["sigma"] == pytest.approx(4, abs=1e-3)
    sharp = behaviour.fit_gaussian(x, n * (x > 0), np.full(11, n))
    assert sharp == {"mu": None, "sigma": None} == behaviour.fit_gaussian(x, np.full(11, n), np.full(11, n))


def test_psychometric_counts():
    found = behaviour.psychometric(np.array([1, 1, 2, 2, 2]), np.array([True, False, True, True, True]))
    assert found["x"] == [1, 2]
    assert found["trials"] == [2, 3]
    assert found["percent"] == [50, 100]


def test_reaction_times_by_hand():
    """The first output above 1 after stimulus onset; what is above it before the onset does not count."""
    task = song2016.task("rdm_rt")
    shown = task.test(repeats=1, conditions=[{"coherence": 16}, {"coherence": -16}, {"coherence": 2}], dt=20)
    outputs = np.zeros((*shown.weights.shape, 2))
    outputs[3, :, 0] = 5
    outputs[shown.epochs["stimulus"][0, 0] + 4 :, 0, 0] = 1.1
    outputs[shown.epochs["stimulus"][1, 0] + 9 :, 1, 0] = 1.1
    times, choice = behaviour.responses(shown, outputs)
    assert times[:2].tolist() == [100, 200]
    assert np.isnan(times[2])
    assert choice.tolist() == [0, 0, -1]
    rows = {row["coherence"]: row for row in behaviour.chronometric(shown, outputs)}
    assert rows[16]["percent_correct"] == 50
    assert rows[16]["mean_ms"] == 150
    assert rows[2]["no_response"] == 1


def test_cue_combination_of_an_optimal_observer():
    curve = lambda s: {"fit": {"mu": 0, "sigma": s}}  # noqa: E731
    found = behaviour.cue_combination({"vision": curve(3.0), "audition": curve(4.0), "both": curve(2.4)})
    assert found["expected"] == pytest.approx(found["found"])
    assert (
        behaviour.cue_combination({"vision": curve(None), "audition": curve(4.0), "both": curve(2.4)})["found"] is None
    )


def test_d_prime_and_order():
    x = np.array([[3.0, 0, 1, 5], [5, 0, 1, 5], [0, 2, 1, 7], [2, 4, 1, 7]])
    d = population.d_prime(x, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(d, [3, -3 * 2**0.5, 0, 0])
    assert population.by_selectivity(np.array([0.1, -5, 3, 0, 2, -1]), 4).tolist() == [2, 1, 4, 5]
    w = np.arange(9.0).reshape(3, 3)
    like = population.like_to_like(w, np.array([1.0, 2, -1]), np.arange(3))
    assert like == {"same": (1 + 3) / 2, "opposite": (2 + 5 + 6 + 7) / 4}


def test_tuning_against_scipy():
    rng = np.random.default_rng(1)
    value = rng.choice([10.0, 14, 18, 22], 60)
    x = rng.normal(size=(60, 5)) + 0.1 * value[:, None] * np.arange(5)
    x[:, 0] = 2.0  # a silent unit
    found = population.tuning(x, value)
    assert found["p"][0] == 1
    assert found["slope"][0] == 0
    for h in range(1, 5):
        line = stats.linregress(value, x[:, h])
        assert found["slope"][h] == pytest.approx(line.slope)
        assert found["p"][h] == pytest.approx(line.pvalue, abs=1e-12)


def test_seeds():
    assert read_seeds("3") == [0, 1, 2]
    assert read_seeds("3-5") == [3, 4, 5]
    assert read_seeds("0,2,10-12") == [0, 2, 10, 11, 12]
    assert read_seeds("7-7") == [7]
    for text in ("", "0", "x", "1,,2", "-3", "5-3", "1.5"):
        with pytest.raises(ValueError, match="seeds must be"):
            read_seeds(text)
    for text in ("1,1", "0,2-4,3", "4-6,6-8"):
        with pytest.raises(ValueError, match="seeds overlap"):
            read_seeds(text)


def test_a_claim_holds_only_if_all_networks_show_it():
    def network(percent, reached=True):
        curve = {"x": [-1, 1], "percent": percent, "trials": [9, 9], "fit": {"mu": 0, "sigma": 1}}
        evaluation = {"psychometric": curve, "performance": {"percent_correct": 90}}
        return {"result": {"reached": reached, "trials": 1000}, "checks": [], "evaluation": evaluation}

    def verdicts(networks):
        return {
            (v.figure, v.task): v
            for v in claims.judge({"rdm_nodale": networks})
            if "spans" in v.text or v.figure == "9"
        }

    good, bad = network([2, 98]), network([40, 60], reached=False)
    assert verdicts([good, good])["2, 3", "rdm_nodale"].verdict == claims.HOLDS
    assert verdicts([good, bad])["2, 3", "rdm_nodale"][3:] == (claims.NOT, "1 of 2; 58 (20 to 96) points")
    assert verdicts([good, bad])["9", "rdm_nodale"][3:] == (claims.NOT, "1 of 2; trials 1,000")
    assert verdicts([good])["2, 3", "rdm_dense"].verdict == claims.UNKNOWN == verdicts([good])["9", "romo"].verdict
    assert "| 9 | trained to its target | rdm_nodale | **does not hold** |" in claims.table({"rdm_nodale": [good, bad]})


@pytest.mark.parametrize("name", ["rdm_varstim", "rdm_rt", "mante", "mante_areas", "multisensory", "romo", "lee"])
def test_every_task_is_measured_drawn_and_judged(name):
    """A network at its start, calmed to a radius of 0.9, as two: plain values, all pictures, every claim judged."""
    task = song2016.task(name)
    params = task.init_params(1)
    params.w_rec = params.w_rec * np.float32(0.6)
    few = {"mante": 1, "mante_areas": 1, "multisensory": 2, "romo": 3, "lee": 1}.get(name, 4)
    found = song2016.measure(task, params, 3, dt=20.0 if name != "lee" else 10.0, repeats=few)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    result = dict.fromkeys(("trials", "seconds", "criterion"), 50.0) | {
        "task": name, "reached": False, "measure": task.stop.measure, "target": task.stop.target,
        "units": task.config.n_hidden,
    }  # fmt: skip
    checks = [{"trials": k, "loss": 1.0, "rmse": 1.0, "performance": 50.0} for k in (0, 10_000)]
    numbers = {name: 2 * [{"result": result, "checks": checks, "evaluation": found}]}
    drawn = paper.figures_of(numbers, {})
    assert len(drawn) >= 2
    for figure in drawn.values():
        figure.canvas.draw()
    judged = [verdict for verdict in claims.judge(numbers) if verdict.task == name]
    assert len(judged) > 1
    assert all(verdict.found != "not trained" for verdict in judged)
