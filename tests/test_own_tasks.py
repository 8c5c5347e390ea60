"""Tasks of one's own, wherever a task's name goes: neurogym classes, instances, registered ids, plain functions."""

import json
import sys

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.cli import main

neurogym = pytest.importorskip("neurogym")

MODULE = '''
import numpy as np
import eirnn_np as ei

def pulses(rng, larger=2, dt=20):
    """Which of two pulses is larger?"""
    T = 240 // dt
    inputs, labels = np.zeros((T, 2)), np.zeros(T, int)
    first, second = rng.random(2)
    inputs[: T // 3, 0], inputs[T // 3 : 2 * T // 3, 0] = first, second
    inputs[: 2 * T // 3, 1] = 1
    labels[-T // 3 :] = larger if second > first else 3 - larger
    periods = {"pulses": (0, 2 * T // 3), "decision": (2 * T // 3, T)}
    return ei.Trial(inputs, labels, {"difference": float(second - first)}, periods, dt)

number = 3
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "owntasks.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    import owntasks

    yield owntasks
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def env_class():
    with tasks.quiet():
        from gymnasium import spaces
        from neurogym.core import TrialEnv

    class Flash(TrialEnv):
        """Report which of two lights was on."""

        def __init__(self, dt=20, strength=1.0):
            super().__init__(dt=dt)
            self.strength = strength
            self.timing = {"fixation": 100, "stimulus": 200, "decision": 100}
            self.observation_space = spaces.Box(-np.inf, np.inf, shape=(3,), dtype=np.float32)
            self.action_space = spaces.Discrete(3)

        def _new_trial(self, **kwargs):
            side = int(self.rng.choice([0, 1]))
            self.add_period(["fixation", "stimulus", "decision"])
            self.add_ob(1, ["fixation", "stimulus"], where=0)
            stimulus = self.view_ob("stimulus")
            stimulus[:, 1 + side] = self.strength
            self.add_randn(0, 0.1, "stimulus")
            self.set_groundtruth(1 + side, period="decision")
            return {"ground_truth": side, "strength": self.strength}

        def _step(self, action):
            return self.ob_now, 0.0, False, False, {"new_trial": False, "gt": self.gt_now}

    return Flash


def test_a_class_an_instance_and_a_registered_id_are_one_task(env_class):
    with tasks.quiet():
        from gymnasium.envs.registration import register, registry

    class Registered(env_class):
        pass

    if "OwnFlash-v0" not in registry:
        register("OwnFlash-v0", entry_point=env_class)
    kwargs = {"dt": 20, "strength": 2.0}
    made = [
        ei.make_trials(env_class, 5, (1, 2), kwargs), ei.make_trials(env_class(**kwargs), 5, (1, 2)),
        ei.make_trials("OwnFlash-v0", 5, (1, 2), kwargs),
    ]  # fmt: skip
    for other in made[1:]:
        for one, two in zip(made[0], other):
            np.testing.assert_array_equal(one.inputs, two.inputs)
            np.testing.assert_array_equal(one.labels, two.labels)
            assert (one.info, one.periods, one.dt) == (two.info, two.periods, 20)
    batches = [next(ei.make_batches(task, 3, 40, (7,), kw)) for task, kw in
               ((env_class, kwargs), (env_class(**kwargs), None), ("OwnFlash-v0", kwargs))]  # fmt: skip
    for other in batches[1:]:
        np.testing.assert_array_equal(batches[0][0], other[0])
    config = ei.ModelConfig(n_in=3, n_hidden=7, n_out=3)
    params = ei.init_params(config)
    found = [ei.evaluate(config, params, task, kw, 4) for task, kw in
             ((env_class, kwargs), (env_class(**kwargs), None), (env_class(**kwargs), {"dt": 20}))]  # fmt: skip
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].rates[0], other.rates[0])
    with pytest.raises(ValueError, match="an instance has its arguments, found strength"):
        ei.make_trials(env_class(), 2, 0, {"strength": 3.0})
    with pytest.raises(ValueError, match="task Flash has no keyword argument 'colour'; it has dt, strength"):
        ei.make_trials(env_class, 2, 0, {"colour": 3.0})
    with pytest.raises(ValueError, match="unknown task 'OwnFlush-v0'"):
        ei.make_trials("OwnFlush-v0", 2)


def test_a_function_draws_batches_trials_and_evaluations(module):
    trials = ei.make_trials(module.pulses, 6, 3)
    assert [t.dt for t in trials] == [20] * 6
    again = ei.make_trials("owntasks:pulses", 6, 3)
    for one, two in zip(trials, again):
        np.testing.assert_array_equal(one.inputs, two.inputs)
    stream = ei.make_batches(module.pulses, 3, 30, 3, {"larger": 1})
    assert (stream.n_in, stream.n_out, stream.dt) == (2, 3, 20)
    inputs, labels = next(stream)
    assert (inputs.shape, inputs.dtype, labels.shape, labels.dtype) == ((30, 3, 2), np.float32, (30, 3), np.int64)
    first = ei.make_trials(module.pulses, 3, 3, {"larger": 1})
    np.testing.assert_array_equal(inputs[:, 0], np.concatenate([t.inputs for t in first])[:30])
    assert not np.array_equal(inputs[:, 0], inputs[:, 1])
    later = ei.make_batches(module.pulses, 3, 30, 3, {"larger": 1}, start=2)
    next(stream)
    np.testing.assert_array_equal(next(stream)[0], next(later)[0])
    config = ei.ModelConfig(n_in=2, n_hidden=7, n_out=3)
    run = ei.evaluate(config, ei.init_params(config), module.pulses, n_trials=4)
    assert run.trials[0].info["difference"] != trials[0].info["difference"]  # a stream of its own
    fine = ei.evaluate(config, ei.init_params(config), module.pulses, n_trials=4, dt=10)
    assert len(fine.trials[0].labels) == 24
    with pytest.raises(ValueError, match="task pulses has 2 inputs, the network 3"):
        ei.evaluate(ei.ModelConfig(), ei.init_params(ei.ModelConfig()), module.pulses)
    with pytest.raises(ValueError, match="source='compiled' cannot serve pulses"):
        ei.make_batches(module.pulses, source="compiled")


def test_train_evaluate_and_report_by_module_and_name(module, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text(MODULE)  # found in the folder where the command runs
    given = ["train", "--task", "here:pulses", "--task-kwargs", '{"larger": 1}', "--steps", "30", "--trials", "20"]
    assert main([*given, "--out", "run", "--batch-size", "3", "--seq-len", "24"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--trials", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["performance"]["n_trials"] == 10
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["task"] == "here:pulses"
    assert main(["train", "--resume", "run", "--steps", "40"]) == 0
    assert main(["report", "run"]) == 0
    assert main(["train", "--task", "here:number", "--steps", "3"]) == 2
    assert "here has no TrialEnv class or function 'number'" in capsys.readouterr().err
    sys.modules.pop("here")


WRONG = {
    "nothing": (None, "must return a Trial, found NoneType"),
    "a pair": ((np.zeros((3, 2)), np.zeros(3, int)), "must return a Trial, found tuple"),
    "flat inputs": (ei.Trial(np.zeros(3), np.zeros(3, int), {}, {}), r"inputs \(T, I\) .*, found float64 \(3,\)"),
    "text": (ei.Trial(np.array([["a"]]), np.zeros(1, int), {}, {}), "inputs .* of real numbers"),
    "nan": (ei.Trial(np.full((3, 2), np.nan), np.zeros(3, int), {}, {}), "with finite inputs"),
    "float labels": (ei.Trial(np.zeros((3, 2)), np.zeros(3), {}, {}), r"integer labels \(3,\), found float64"),
    "short labels": (ei.Trial(np.zeros((3, 2)), np.zeros(2, int), {}, {}), r"labels \(3,\), found int64 \(2,\)"),
    "below 0": (ei.Trial(np.zeros((3, 2)), np.full(3, -1), {}, {}), "labels of at least 0, found -1"),
    "info": (ei.Trial(np.zeros((3, 2)), np.zeros(3, int), None, {}), "a dict as info, found NoneType"),
    "periods": (ei.Trial(np.zeros((3, 2)), np.zeros(3, int), {}, [1]), "a dict as periods, found list"),
    "one label": (ei.Trial(np.zeros((3, 2)), np.zeros(3, int), {}, {}), "every label of its trials is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_function_returns_is_checked(name):
    returned, message = WRONG[name]

    def mine(rng):
        return returned

    for call in (lambda: ei.make_trials(mine, 2), lambda: ei.make_batches(mine)):
        with pytest.raises(ValueError, match=f"task mine .*{message}"):
            call()


def test_other_mistakes_are_named(module):
    def fails(rng):
        raise KeyError("x")

    def changes(rng):
        n = int(rng.integers(1, 3))
        return ei.Trial(np.zeros((4, n)), np.arange(4), {}, {})

    def slow(rng):
        return ei.Trial(np.zeros((4, 1)), np.arange(4), {}, {}, 50.0)

    def rare(rng):
        return ei.Trial(np.zeros((4, 1)), np.arange(4) % 2, {}, {})

    def blind(rng):
        return ei.Trial(np.ones((4, 1)), np.full(4, rng.integers(2)), {}, {})

    own = np.random.default_rng(0)

    def elsewhere(rng):
        answer = int(own.integers(2))
        return ei.Trial(np.full((4, 1), answer), np.full(4, answer), {}, {})

    rare.n_out = 1
    for task, kwargs, message in (
        (fails, {}, "task fails draws no trial with {}: KeyError"),
        (changes, {}, r"as many inputs in every trial, found \[1, 2\]"),
        (slow, {"dt": 20}, "draws trials of dt 50 ms, asked for 20"),
        (blind, {}, "task blind cannot be learnt: its inputs are the same in every trial, and the labels are not"),
        (elsewhere, {}, "task elsewhere must draw from its rng alone: the same generator gave other trials"),
        (rare, {}, "task rare has the label 1, and so n_out above it, found 1"),
        (module.pulses, {"large": 3}, "task pulses takes no argument 'large'; did you mean 'larger'?"),
        (module.pulses, [1], "env_kwargs must be a dict of keyword arguments, found list"),
        (3, {}, "task must be the name of a task, a neurogym TrialEnv or a function, found 3"),
        ("nowhere:task", {}, "task nowhere:task: cannot import nowhere"),
        ("owntasks:lost", {}, "owntasks has no TrialEnv class or function 'lost'"),
        ("os:system", {}, "os has no TrialEnv class or function 'system'"),
        ("subprocess:Popen", {"args": "true"}, "subprocess has no TrialEnv class or function 'Popen'"),
    ):
        with pytest.raises(ValueError, match=message):
            ei.make_trials(task, 2, 0, kwargs)
    rare.n_out = 5
    assert ei.make_batches(rare).n_out == 5
