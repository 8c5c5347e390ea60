"""Pictures: which are drawn for which task, what is in them, and that nobody else's matplotlib is touched."""

import struct
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

import eirnn_np as ei
from eirnn_np import analysis, figures, tasks

ALL = {"task_trials", "training_loss", "activity", "selectivity", "connectivity", "psychometric"}


def draw(folder, task, env_kwargs=None, losses=(1.0, 0.5, 0.4), n_trials=30, **config):
    with tasks.quiet():
        env = tasks.make_env(task, tasks.default_env_kwargs(task, env_kwargs))
    config = ei.ModelConfig(n_in=env.observation_space.shape[0], n_out=int(env.action_space.n), **config)
    params = ei.init_params(config)
    evaluation = ei.evaluate(config, params, task, env_kwargs, n_trials)
    ideal = analysis.task_ideal_observer(task, env_kwargs, evaluation)
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


def test_training_loss_shows_every_step_and_a_running_mean():
    losses = np.random.default_rng(0).random(500)
    (ax,) = figures.training_loss(losses).axes
    every, mean = ax.lines
    np.testing.assert_array_equal(every.get_ydata(), losses)
    np.testing.assert_array_equal(every.get_xdata(), np.arange(1, 501))
    assert mean.get_xdata()[-1] == 500
    np.testing.assert_allclose(mean.get_ydata()[[0, -1]], [losses[:50].mean(), losses[-50:].mean()])


def test_histogram_counts_every_unit_once():
    d_prime = np.random.default_rng(0).normal(size=50)
    d_prime[[3, 45]] = 4, -4
    (ax,) = figures.selectivity_histogram(d_prime, 40).axes
    excitatory, inhibitory = (sum(patch.get_height() for patch in bars) for bars in ax.containers)
    assert (excitatory, inhibitory) == (40, 10)


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
