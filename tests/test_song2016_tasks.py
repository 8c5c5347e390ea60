"""The ten tasks of the paper against the table written out a second time (song2016_table.py)."""

from dataclasses import replace

import numpy as np
import pytest
import song2016_table as table

from eirnn_np import song2016
from eirnn_np.song2016.trials import CATCH, Exponential, Uniform

NAMES = list(table.SIZES)


def test_there_are_the_ten():
    assert list(song2016.TASKS) == NAMES


@pytest.mark.parametrize("dt", [20.0, 7.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_trials_are_those_of_the_table(name, dt):
    """Each condition at each step: channels, targets, mask; durations that are drawn are set to odd values here."""
    task = song2016.task(name)
    conditions = task.conditions[:: 11 if dt == 0.5 else 3]
    durations = {"rdm_varstim": {"stimulus": 413.0}, "romo": {"delay": 2741.0}}.get(name)
    shown = task.test(seed=3, repeats=1, dt=dt, conditions=conditions, durations=durations)
    for b, condition in enumerate(conditions):
        inputs, targets, mask = table.trial(name, condition, dt, durations, test=True)
        T = len(mask)
        assert shown.lengths[b] == T
        np.testing.assert_array_equal(shown.weights[:T, b], mask)
        assert not shown.weights[T:, b].any()
        assert not shown.inputs[T:, b].any()
        np.testing.assert_allclose(shown.inputs[:T, b], inputs, atol=1e-6)
        looked_at = np.flatnonzero(mask)
        np.testing.assert_allclose(shown.targets[looked_at, b], [targets[t] for t in looked_at], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_trials_are_those_of_the_table(name):
    """The first batches, catch trials among them, with the durations that they were drawn with."""
    task, kinds = song2016.task(name), set()
    for k in range(3 if task.batch_size > 1 else 12):
        shown = task.training_trials(5, k)
        for b, c in enumerate(shown.condition):
            condition = None if c == CATCH else task.conditions[c]
            kinds.add(c == CATCH)
            lengths = {n: task.dt * float(np.diff(bounds[b])[0]) for n, bounds in shown.epochs.items()}
            inputs, targets, mask = table.trial(name, condition, task.dt, lengths)
            if name == "romo" and c != CATCH:  # the delay ends between two steps, what follows is as long
                assert shown.lengths[b] == len(mask)
            T = int(shown.lengths[b])
            assert T == len(mask)
            np.testing.assert_array_equal(shown.weights[:T, b], mask)
            np.testing.assert_allclose(shown.inputs[:T, b], inputs, atol=1e-6)
            on = np.flatnonzero(mask)
            np.testing.assert_allclose(shown.targets[on, b], [targets[t] for t in on], atol=1e-6)
    assert False in kinds


@pytest.mark.parametrize("name", NAMES)
def test_sizes(name):
    task = song2016.task(name)
    I, H, O, B = table.SIZES[name]
    c = task.connectivity
    assert (len(task.channels), len(c.c_rec), task.n_out, task.batch_size) == (I, H, O, B)
    assert c.n_exc == round(0.8 * H)
    assert len(task.conditions) == table.CONDITIONS[name]
    assert c.dale == (name != "rdm_nodale")
    assert (task.dt, task.tau, task.sigma_rec) == ((10, 50, 0.01) if name == "lee" else (20, 100, 0.15))
    assert task.train_x0 == (name != "lee")
    stop = {"romo": ("smallest_condition", 85), "lee": ("rmse", 0.05)} | dict.fromkeys(
        ("mante", "mante_areas", "multisensory"), ("percent_correct", 90)
    )
    assert task.stop[:2] == stop.get(name, ("percent_correct", 85))


@pytest.mark.parametrize("name", NAMES)
def test_a_share_of_the_training_trials_is_catch(name):
    """Within four standard deviations of the table's share; conditions alike."""
    task = song2016.task(name)
    batches = 60 if task.batch_size > 1 else 400
    drawn = np.concatenate([task.training_trials(11, k).condition for k in range(batches)])
    share = table.CATCH.get(name, (0,))[0]
    assert abs((drawn == CATCH).mean() - share) <= 4 * np.sqrt(share * (1 - share) / len(drawn))
    counts = np.bincount(drawn[drawn != CATCH], minlength=len(task.conditions))
    expected = counts.sum() / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))  # chi-squared


@pytest.mark.parametrize("name", NAMES)
def test_validation_is_balanced_and_fresh(name):
    task = song2016.task(name)
    first, second = (task.validation(2, check, rounds=3) for check in (0, 1))
    kinds, counts = np.unique(first.condition, return_counts=True)
    assert (counts == 3).all()
    assert len(kinds) == table.CONDITIONS[name] + (name in table.CATCH)
    if name in ("rdm_varstim", "romo"):
        assert first.lengths.tolist() != second.lengths.tolist()
    else:
        assert first.lengths.tolist() == second.lengths.tolist()


@pytest.mark.parametrize("name", ["rdm_varstim", "lee"])
def test_a_batch_is_a_function_of_seed_and_number(name):
    task = song2016.task(name)
    first, again, other, next_one = (task.batch(*at) for at in ((4, 7), (4, 7), (5, 7), (4, 8)))
    stream = task.batches(4, start=7)
    for one, two, three in zip(first, again, next(stream)):
        assert one.tobytes() == two.tobytes() == three.tobytes()
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(first, other))
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(first, next_one))


def test_durations_follow_their_distribution():
    """Against a plain rejection sampler, by the mean and the ends; whole steps."""
    draw, u = Exponential(330, 80, 1500), (np.arange(20000) + 0.5) / 20000
    times = np.array([draw(each, 0.5) for each in u])
    plain = np.random.default_rng(0).exponential(330, 400_000)
    plain = plain[(plain >= 80) & (plain < 1500)]
    assert times.min() == 80
    assert times.max() < 1500
    np.testing.assert_allclose(times.mean() + 0.25, plain.mean(), rtol=0.005)
    np.testing.assert_allclose(np.quantile(times, [0.1, 0.5, 0.9]), np.quantile(plain, [0.1, 0.5, 0.9]), rtol=0.02)
    assert {draw(each, 20) % 20 for each in u[::100]} == {0}
    assert Uniform(2500, 3500)(0.25, 20) == 2750


def test_performance_by_hand():
    """Two conditions and a catch trial of different length; outputs behind a trial's end must not count."""
    task = song2016.task("rdm_varstim")
    shown = task.test(repeats=1, conditions=[{"coherence": 8}, {"coherence": -8}, {"coherence": 0}],
                      durations={"stimulus": 200})  # fmt: skip
    outputs = shown.targets.copy()
    outputs[-1, :, 1] += 2  # all now choose output 1
    found = task.performance(shown, outputs)
    assert found["percent_correct"] == 50
    assert found["smallest_condition"] == 0
    scored = shown.weights.sum()
    np.testing.assert_allclose(found["loss"], 3 * 2.0**2 / (2 * scored))
    np.testing.assert_allclose(found["rmse"] ** 2, found["loss"])
    longer = np.concatenate([outputs, np.full((4, 3, 2), 9.0, np.float32)])
    padded = shown._replace(**{
        name: np.concatenate([array, np.zeros((4, *array.shape[1:]), np.float32)])
        for name, array in zip(("inputs", "targets", "weights"), shown)
    })  # fmt: skip
    assert task.performance(padded, longer) == found


def test_stopping_rules():
    stop = song2016.Stop("percent_correct", 85)
    assert not stop.reached([])
    assert not stop.reached([85])
    assert stop.reached([85.1])
    assert not stop.reached([100, 60, 60, 85, 85, 85, 85.2])
    assert stop.reached([0, 85, 85, 85, 85, 86])
    assert song2016.Stop("smallest_condition", 85, 1).reached([0, 85])
    assert song2016.Stop("rmse", 0.05, 1).reached([1, 0.05])


@pytest.mark.parametrize(
    ("name", "says"), [("rdm_dens", "did you mean rdm_dense"), ("x", "there are rdm_varstim"), (3, "no task 3")]
)
def test_an_unknown_task_is_one_line(name, says):
    with pytest.raises(ValueError, match=says) as found:
        song2016.task(name)
    assert "\n" not in str(found.value)


def test_bad_arguments_are_named():
    task = song2016.task("rdm_dense")
    for call, says in (
        (lambda: task.batch(-1, 0), "seed"), (lambda: task.batch(0, -1), "k must"),
        (lambda: task.validation(0, 1.5), "check"),
        (lambda: task.validation(0, 1, rounds=0), "rounds"), (lambda: task.test(dt=0), "dt must"),
        (lambda: task.test(durations={"delay": 3}), "durations must name epochs of rdm_dense, found delay"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            call()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"inputs": lambda c: {"stimulos": [1, 0]}},
            "must be of the epochs fixation, stimulus, decision, found stimulos",
        ),
        ({"targets": lambda c: {"decisions": [1, 0]}}, "targets of .* found decisions"),
        ({"inputs": lambda c: {"stimulus": [1, 0, 1]}}, r"in the epoch stimulus must have shape \(2,\), found \(3,\)"),
        ({"targets": lambda c: {"decision": [1, np.nan]}}, "must be finite"),
        ({"choice": lambda c: 2}, "choice of {'coherence': -16} must be an integer from 0 to 1, found 2"),
        ({"choice": None}, "stop.measure must be one of rmse, found 'percent_correct'"),
        (
            {"stop": song2016.Stop("percent-correct", 90)},
            "percent_correct, smallest_condition, found 'percent-correct'",
        ),
        ({"stop": song2016.Stop("rmse", 0.1, 0)}, "stop.checks"),
        ({"catch": song2016.Catch(11, 2000)}, "catch.share"),
        ({"catch": song2016.Catch(0.1, 0)}, "catch.duration"),
        ({"epochs": ()}, "epochs must be one or more"),
        ({"epochs": [song2016.Epoch("decision", 100)] * 2}, "of different names, found decision, decision"),
        ({"epochs": [song2016.Epoch("decision", -100)]}, "the duration of the epoch decision must be a number above 0"),
        ({"conditions": []}, "conditions must be one or more"),
        ({"batch_size": 0}, "batch_size"),
        ({"check_every": 0}, "check_every"),
        ({"dt": 0}, "dt must"),
        ({"name": "a/b"}, "the name of a folder, found 'a/b'"),
    ],
)
def test_a_task_of_ones_own_that_does_not_fit(change, says):
    with pytest.raises(ValueError, match=says) as found:
        replace(song2016.task("rdm_dense"), **change)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("make", [lambda: Exponential(0, 80, 100), lambda: Exponential(3, 8, 8), lambda: Uniform(3, 2)])
def test_durations_that_cannot_be_drawn(make):
    with pytest.raises(ValueError, match=r"must be a number (above|at least)"):
        make()
