"""Pictures: which are drawn for which task, what is in them, and that nobody else's matplotlib is touched."""

import inspect
import struct
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import eirnn_np as ei
from eirnn_np import analysis, figures, tasks

ALL = {"task_trials", "training_loss", "activity", "selectivity", "connectivity", "psychometric"}


def draw(folder, task, env_kwargs=None, losses=(1.0, 0.5, 0.4), n_trials=30, **config):
    with tasks.quiet():
        env = tasks.make_env(task, tasks.default_env_kwargs(task, env_kwargs))
    config = ei.ModelConfig(n_in=env.observation_space.shape[0], n_out=int(env.action_space.n), **config)
    params = ei.init_params(config)
    evaluation = ei.evaluate(config, params, task, env_kwargs, n_trials)
    ideal = analysis.ideal_curve(task, env_kwargs, evaluation)
    trials = ei.make_trials(task, 3, 0, env_kwargs)
    return figures.draw_all(folder, config, params, losses, evaluation, ideal, trials)


def png_size(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize(
    ("task", "env_kwargs", "config", "missing"),
    [
        ("PerceptualDecisionMaking-v0", None, {}, set()),
        (
            "PerceptualDecisionMaking-v0",
            {"dt": 20, "dim_ring": 4},
            {"n_hidden": 7},
            {"selectivity", "psychometric"},
        ),
        ("GoNogo-v0", {}, {"n_hidden": 2, "e_ratio": 0.5}, {"psychometric"}),
        ("yang19.dm1-v0", {}, {}, {"selectivity", "psychometric"}),
        ("ReadySetGo-v0", {}, {"n_hidden": 129}, {"selectivity", "psychometric"}),
    ],
)
def test_draws_what_applies_to_the_task_and_nothing_else(tmp_path, task, env_kwargs, config, missing):
    folder = tmp_path / "figures"
    drawn = draw(folder, task, env_kwargs, **config)
    assert set(drawn) == {f"{name}.png" for name in ALL - missing}
    assert {path.name for path in folder.iterdir()} == set(drawn)
    for name in drawn:
        width, height = png_size(folder / name)
        assert 800 <= width <= 1200
        assert 450 <= height <= 900
        assert 5_000 < (folder / name).stat().st_size < 1_000_000


def test_no_loss_no_picture_of_it(tmp_path):
    assert "training_loss.png" not in draw(tmp_path, "PerceptualDecisionMaking-v0", losses=())
    assert not (tmp_path / "training_loss.png").exists()


def test_one_trial_of_one_choice_is_enough(tmp_path):
    drawn = draw(tmp_path, "PerceptualDecisionMaking-v0", losses=[1.0], n_trials=1)
    assert set(drawn) == {f"{name}.png" for name in ALL - {"selectivity"}}


def test_same_numbers_same_bytes_and_settings_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        draw(tmp_path / name, "PerceptualDecisionMaking-v0")
    assert dict(mpl.rcParams) == before
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


DRAW_ALONE = """
import sys
import eirnn_np as ei
import eirnn_np.figures
from eirnn_np import tasks
config = ei.ModelConfig(n_hidden=5)
params = ei.init_params(config)
evaluation = ei.evaluate(config, params, n_trials=20)
trials = ei.make_trials(tasks.TUTORIAL_TASK, 2)
names = eirnn_np.figures.draw_all(sys.argv[1], config, params, [1.0], evaluation, None, trials)
print(len(names), "matplotlib.pyplot" in sys.modules)
"""


def test_pyplot_is_never_imported(tmp_path):
    done = subprocess.run([sys.executable, "-c", DRAW_ALONE, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("6 False\n", "")


# --- what is in them -------------------------------------------------------------------------------


def test_connectivity_is_sorted_signed_and_marked():
    rng = np.random.default_rng(0)
    weights, order = rng.normal(size=(7, 7)), np.array([2, 0, 4, 1, 3, 6, 5])
    (ax, _colorbar) = figures.connectivity(weights, order, 5).axes
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), weights[order][:, order])  # rows are the receivers
    assert image.get_cmap().name == "bwr_r"
    assert image.get_clim() == (-np.abs(weights).max(), np.abs(weights).max())
    assert ax.get_xlabel().startswith("From neurons")
    assert ax.get_ylabel() == "To neurons"
    borders = {(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in ax.lines}
    assert borders == {((0, 1), (4.5, 4.5)), ((4.5, 4.5), (0, 1))}
    assert figures.connectivity(np.zeros((7, 7)), order, 5).axes[0].images[0].get_clim() == (-1, 1)


def test_activity_draws_excitatory_units_blue_and_inhibitory_red():
    trial = ei.make_trials(tasks.TUTORIAL_TASK, 1)[0]
    rates = np.random.default_rng(0).random((len(trial.labels), 7))
    (ax,) = figures.activity(trial, rates, 5, 20.0).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) == len(rates)]
    assert len(lines) == 7
    for unit, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_ydata(), rates[:, unit])
        red, _, blue = mpl.colors.to_rgb(line.get_color())
        assert (blue > red) == (unit < 5)
    assert len({to_hex(line.get_color()) for line in lines}) == 2
    assert lines[0].get_xdata()[-1] == 20 * len(rates)


def test_training_loss_shows_every_step_and_the_mean_around_it():
    losses = np.random.default_rng(0).random(500)
    (ax,) = figures.training_loss(losses).axes
    every, mean = ax.lines
    np.testing.assert_array_equal(every.get_ydata(), losses)
    np.testing.assert_array_equal(every.get_xdata(), np.arange(1, 501))
    np.testing.assert_array_equal(mean.get_xdata(), np.arange(1, 477))  # as long as 24 come after it
    assert "50 steps" in mean.get_label()
    around = {0: losses[:1], 9: losses[5:14], 250: losses[226:275], 475: losses[451:]}
    np.testing.assert_allclose(mean.get_ydata()[list(around)], [values.mean() for values in around.values()])


@pytest.mark.parametrize("n", [1, 3, 40, 700, 5000])
def test_the_mean_of_the_loss_stays_inside_the_cloud(n):
    rng, steps = np.random.default_rng(1), np.arange(n)
    losses = 0.08 + np.exp(-steps / 120) + 0.02 * rng.uniform(-1, 1, n)  # falls as fast as the tutorial's
    mean = figures.training_loss(losses).axes[0].lines[1].get_ydata()
    smooth = 0.08 + np.exp(-steps / 120)
    assert n - 100 <= len(mean) <= n
    assert (np.abs(mean - smooth[: len(mean)]) <= 0.021 + 0.03 * (steps[: len(mean)] < 400)).all()
    assert n < 5000 or np.ptp(mean[-500:]) < 0.01  # no mean of few at the end
    for k in range(0, len(mean), 50):
        near = losses[max(0, k - 15) : k + 16]
        assert near.min() - 0.002 <= mean[k] <= near.max() + 0.002


def test_histogram_counts_every_unit_once():
    d_prime = np.random.default_rng(0).normal(size=50)
    d_prime[[3, 45]] = 4, -4
    (ax,) = figures.selectivity_histogram(d_prime, 40).axes
    excitatory, inhibitory = (sum(patch.get_height() for patch in bars) for bars in ax.containers)
    assert (excitatory, inhibitory) == (40, 10)


def test_no_bin_holds_both_signs():
    for low, high in ((-1.3, 0.7), (-2.0, 2.0), (0.0, 3.0), (-0.2, 0.0), (0.0, 0.0), (0.1, 0.4), (-7e-9, 1e9)):
        bins = figures.signed_bins(low, high, 22)
        assert 0.0 in bins
        assert (np.diff(bins) > 0).all()
        assert bins[0] <= low <= high <= bins[-1]
        assert len(bins) <= 26
    rng = np.random.default_rng(0)
    weights = np.abs(rng.normal(size=(7, 7))) * np.where(np.arange(7) < 5, 1, -1)
    for figure in (figures.weight_distributions(weights, weights * 1e-3, 5),
                   figures.selectivity_histogram(rng.normal(size=7), 5)):  # fmt: skip
        bars = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_width")]
        assert bars
        for bar in bars:
            left, right = bar.get_x(), bar.get_x() + bar.get_width()
            assert left >= -1e-12 or right <= 1e-12


def test_actions_have_names():
    trials = ei.make_trials(tasks.TUTORIAL_TASK, 4)
    labels = figures.sample_trials(trials, 20, figures.action_names(trials, 3)).axes[1].get_yticklabels()
    assert [label.get_text() for label in labels] == ["fixate", "choice 1", "choice 2"]
    bare = [trial._replace(periods={}) for trial in trials]
    assert figures.action_names(bare) == {}
    assert "fixate" not in [label.get_text() for label in figures.sample_trials(bare, 20).axes[1].get_yticklabels()]


def test_activity_says_which_trial_it_is():
    trial = next(t for t in ei.make_trials(tasks.TUTORIAL_TASK, 30) if t.labels[-1] == 2 and t.info["coh"] == 25.6)
    rates = np.ones((len(trial.labels), 7))
    gap = figures.activity(trial._replace(periods={"cue": (5, 10), "decision": (20, 30)}), rates, 5, 20.0)
    lines = [line.get_xdata()[0] for line in gap.axes[0].lines if len(line.get_xdata()) == 2]
    assert {100.0, 200.0, 400.0} <= set(lines)  # the cue's end, too
    title = figures.activity(trial, rates, 5, 20.0, choice=1).axes[0].get_title()
    assert title == "25.6 % coherence, right: choice 2, chosen: choice 1"
    assert figures.activity(trial, rates, 5, 20.0).axes[0].get_title() == "25.6 % coherence, right: choice 2"
    assert figures.activity(trial._replace(info={}, periods={}), rates, 5, 20.0).axes[0].get_title() == ""


def population_calls(rng):
    """Arguments for the pictures of populations: two conditions, three units, two components."""
    averages = analysis.Averages({0: rng.normal(size=(4, 3)), 1: rng.normal(size=(4, 3))}, {}, np.arange(4) * 20.0)
    pca = analysis.PCA(np.eye(3)[:2], np.array([2.0, 1.0, 0.5]), np.zeros(3))
    config = ei.ModelConfig(n_in=1, n_hidden=3, n_out=2)
    points = {c: ei.fixed_points(config, ei.init_params(config, 0), [c], n_starts=5) for c in (-1.0, 0.0, 1.0)}
    q = np.array([0.01, 0.2, 0.9])
    lesioned = [{"n_silenced": n, "accuracy": [0.5, 0.7], "mean": 0.6, "sd": 0.1, "no_choice": 0.0} for n in (0, 1)]
    pushed = [{"amplitude": a, "accuracy": 0.5, "share": None, "no_choice": 1.0} for a in (0.0, 1.0)]
    timed = [{"value": v, "mean": 200.0, "sem": None, "mean_correct": 190.0, "mean_error": None} for v in (0.0, 5.0)]
    return {
        "average_activity": (averages, 1), "component_trajectories": (pca, averages), "phase_portrait": (pca, points),
        "jacobian_eigenvalues": (points,), "lesions": ({"all": lesioned},), "perturbations": (pushed,),
        "tuning_curves": (analysis.Tuning(q, q, q, q, q < 0.05), 2), "chronometric_curve": (timed,),
    }  # fmt: skip


def test_phase_portrait_fills_what_is_stable():
    arguments = population_calls(np.random.default_rng(0))["phase_portrait"]
    (ax,) = figures.phase_portrait(*arguments, {0.0: np.zeros((3, 3))}).axes
    markers = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    points = [found for found in arguments[1].values()]
    assert len(markers) == sum(map(len, points))
    filled = [not isinstance(marker.get_markerfacecolor(), str) for marker in markers]
    assert filled == [bool(stable) for found in points for stable in found.stable]


def test_every_picture_is_drawn_on_the_axes_that_are_given():
    trials = ei.make_trials(tasks.TUTORIAL_TASK, 2)
    rates, rng = np.ones((len(trials[0].labels), 7)), np.random.default_rng(0)
    rows = [{"coherence": c, "share": 0.5, "interval_95": (0.4, 0.6)} for c in (-10, 10)]
    weights = rng.normal(size=(7, 7))
    calls = {
        "training_loss": ([1.0, 0.5],), "activity": (trials[0], rates, 5, 20.0), "psychometric_curve": (rows,),
        "selectivity_histogram": (rng.normal(size=7), 5), "connectivity": (weights, np.arange(7), 5),
        "weight_distributions": (weights, weights, 5), "eigenvalues": (weights, weights, np.full(7, 0.2)),
        "gradient_norms": ({"w": 1.0}, {"w": 2.0}), "gradient_check": ([1e-3, 1e-2], {"float64": ([1.0, 2.0], 0.1)}),
        "sample_trials": (trials, 20), **population_calls(rng),
    }  # fmt: skip
    functions = {name for name in figures.__all__ if inspect.isfunction(getattr(figures, name))}
    others = {"action_names", "draw_all", "draw_gradient_check", "run_figures", "save_figure", "signed_bins", "sorting"}
    assert functions - others == set(calls)
    for name in calls:
        own = Figure()
        axes = own.subplots(2)
        ax = axes if name == "sample_trials" else axes[1]
        assert getattr(figures, name)(*calls[name], ax=ax) is own
        assert axes[1].has_data()
        assert axes[0].has_data() == (name == "sample_trials")
        with pytest.raises(ValueError, match="ax must be"):
            getattr(figures, name)(*calls[name], ax="left")


def test_psychometric_curve_has_the_ideal_observer_beside_it():
    rows = [
        {"coherence": c, "share": s, "interval_95": (s - 0.02, s + 0.03)} for c, s in ((-10, 0.2), (0, 0.5), (10, 0.75))
    ]
    (ax,) = figures.psychometric_curve(rows, {0.0: 0.5, 10.0: 0.9}).axes
    ideal = next(line for line in ax.lines if line.get_label() == "ideal observer")
    np.testing.assert_allclose(ideal.get_ydata(), [0.1, 0.5, 0.9])
    (bars,) = ax.containers
    np.testing.assert_allclose(bars[0].get_ydata(), [0.2, 0.5, 0.75])
    segments = np.array(bars[2][0].get_segments())
    np.testing.assert_allclose(segments[:, :, 1], [(0.18, 0.23), (0.48, 0.53), (0.73, 0.78)])
    assert len(figures.psychometric_curve(rows).axes[0].get_legend_handles_labels()[1]) == 1
    (other,) = figures.psychometric_curve([{"value": row.pop("coherence"), **row} for row in rows]).axes
    assert other.get_xlabel() == "Signed value"  # of another key than "coh"
