"""Batches and trials: neurogym's own numbers, reproducible, and refusals that say why."""

import warnings

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.tasks import own
from eirnn_np.tasks import seeds as seeds_of_tasks
from eirnn_np.tasks.installed import TASK_IDS

try:
    with tasks.quiet():
        from neurogym.envs.registration import ALL_EXTENDED_ENVS
except ModuleNotFoundError:
    ALL_EXTENDED_ENVS = TASK_IDS

TUTORIAL = {"dt": 20, "timing": tasks.TUTORIAL_TIMING}

# Of neurogym 2.2: no ground truth, actions that are not one choice, or nothing that Dataset can do with it.
REFUSED = {
    "Bandit-v0",
    "DawTwoStep-v0",
    "EconomicDecisionMaking-v0",
    "Null-v0",
    "Reaching1D-v0",
    "Reaching1DWithSelfDistraction-v0",
    "ReachingDelayResponse-v0",
    "SpatialSuppressMotion-v0",
    "perceptualdecisionmaking.ibl20-v0",
}


def own_dataset(task, env_kwargs, batch_size, seq_len, seed):
    """neurogym.Dataset as its documentation makes one, then seeded and its cache filled anew."""
    with tasks.quiet():
        import neurogym

        dataset = neurogym.Dataset(task, env_kwargs, batch_size=batch_size, seq_len=seq_len)
        dataset.seed(seed)
        dataset._cache()
    while True:
        with tasks.quiet():
            yield next(dataset)


@pytest.mark.parametrize("source", ["auto", "neurogym"])
@pytest.mark.parametrize(
    ("task", "env_kwargs", "batch_size", "seq_len"),
    [
        (tasks.TUTORIAL_TASK, TUTORIAL, 16, 100),  # a cache is 15 batches
        (tasks.TUTORIAL_TASK, {"dt": 50, "dim_ring": 4, "sigma": 0.3}, 5, 37),
        ("ContextDecisionMaking-v0", {"dt": 20}, 11, 90),
        ("GoNogo-v0", {}, 16, 101),
    ],
)
def test_batches_are_those_of_neurogym(task, env_kwargs, batch_size, seq_len, source):
    batches = ei.make_batches(task, batch_size, seq_len, 11, env_kwargs, source)
    own = own_dataset(task, env_kwargs, batch_size, seq_len, 11)
    for k in range(60):
        inputs, labels = next(batches)
        expected_inputs, expected_labels = next(own)
        assert (inputs.dtype, labels.dtype) == (np.float32, np.int64)
        assert inputs.shape == (seq_len, batch_size, batches.n_in)
        np.testing.assert_array_equal(inputs, expected_inputs, err_msg=f"batch {k}")
        np.testing.assert_array_equal(labels, expected_labels, err_msg=f"batch {k}")
        assert 0 <= labels.min() <= labels.max() < batches.n_out


def test_the_default_is_the_tutorial_s_task():
    default, explicit = ei.make_batches(), ei.make_batches(tasks.TUTORIAL_TASK, 16, 100, 0, TUTORIAL)
    for ours, theirs in zip(next(default), next(explicit)):
        np.testing.assert_array_equal(ours, theirs)
    assert (default.n_in, default.n_out, default.batch_size, default.seq_len) == (3, 3, 16, 100)


@pytest.mark.parametrize("source", ["auto", "neurogym"])
def test_batches_are_arrays_of_their_own(source):
    batches = ei.make_batches(source=source)
    kept = [next(batches) for _ in range(3)]
    copies = [(inputs.copy(), labels.copy()) for inputs, labels in kept]
    for inputs, labels in kept[:2]:
        inputs[...], labels[...] = np.nan, 7  # nor may writing into one reach another
    for _ in range(30):
        next(batches)
    np.testing.assert_array_equal(kept[2][0], copies[2][0])
    np.testing.assert_array_equal(kept[2][1], copies[2][1])
    clean = ei.make_batches(source=source)
    for _ in range(33):
        expected = next(clean)
    np.testing.assert_array_equal(next(batches)[0], next(clean)[0])
    assert np.isfinite(expected[0]).all()


@pytest.mark.parametrize("source", ["auto", "neurogym"])
@pytest.mark.parametrize("task", sorted(ALL_EXTENDED_ENVS))
def test_one_seed_is_one_stream_and_another_seed_another(task, source):
    """Also where an environment remembers its trials or draws its timing from a function (MotorTiming-v0)."""
    if task in REFUSED:
        with pytest.raises(ValueError, match=f"task {task} does not fit"):
            ei.make_batches(task, source=source)
        return
    dt = {"dt": 20} if task == "MotorTiming-v0" else None  # at its own 80 its "set" of 50 ms would get no step
    streams = [ei.make_batches(task, 3, 60, seed, dt, source) for seed in (5, 5, 6)]
    batches = [[next(stream) for _ in range(5)] for stream in streams]
    inputs = [np.concatenate([u for u, _ in stream]) for stream in batches]
    labels = [np.concatenate([y for _, y in stream]) for stream in batches]
    np.testing.assert_array_equal(inputs[0], inputs[1])
    np.testing.assert_array_equal(labels[0], labels[1])
    assert not (np.array_equal(inputs[0], inputs[2]) and np.array_equal(labels[0], labels[2]))
    assert np.isfinite(inputs[0]).all()


def test_streams_of_a_batch_are_those_of_their_seeds():
    """Stream b is drawn with seed + b, whatever the size of the batch (of one cache at least)."""
    wide = next(ei.make_batches(batch_size=6, seed=10))
    for seed in (10, 13):
        narrow = next(ei.make_batches(batch_size=3, seed=seed))
        for ours, theirs in zip(narrow, wide):
            np.testing.assert_array_equal(ours, theirs[:, seed - 10 : seed - 7])


# --- trials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["auto", "neurogym"])
def test_trials_are_consistent_with_their_periods(source):
    trials = ei.make_trials(tasks.TUTORIAL_TASK, 300, seed=4, source=source)
    assert len(trials) == 300
    lengths = {"fixation": set(), "stimulus": set(), "delay": set(), "decision": set()}
    for inputs, labels, info, periods, dt in trials:
        assert dt == 20
        assert (inputs.dtype, labels.dtype, inputs.shape) == (np.float32, np.int64, (len(labels), 3))
        end = 0
        for name in lengths:
            start, stop = periods[name]
            assert start == end
            end = stop
            lengths[name].add(stop - start)
        assert end == len(labels)
        (_, fixation), (_, stimulus) = periods["fixation"], periods["stimulus"]
        np.testing.assert_array_equal(inputs[:, 0], np.arange(end) < fixation)
        assert (inputs[:fixation, 1:] == 0).all()
        assert (inputs[fixation:stimulus, 1:] != 0).all()
        assert (inputs[stimulus:] == 0).all()
        assert (labels[:stimulus] == 0).all()
        assert (labels[stimulus:] == 1 + info["ground_truth"]).all()
        assert info["ground_truth"] in (0, 1)
        assert info["coh"] in (0, 6.4, 12.8, 25.6, 51.2)
    assert lengths == {"fixation": {2, 5, 10, 20}, "stimulus": {5, 10, 20, 40}, "delay": {0}, "decision": {5}}


def test_the_stimulus_favours_the_ground_truth():
    trials = ei.make_trials(tasks.TUTORIAL_TASK, 2000, seed=1)
    stimulus = [t.inputs[slice(*t.periods["stimulus"])] for t in trials]
    for side in (0, 1):
        for coh in (0, 25.6, 51.2):
            chosen = [s for s, t in zip(stimulus, trials) if (t.info["ground_truth"], t.info["coh"]) == (side, coh)]
            difference = np.concatenate(chosen)[:, 1 + side] - np.concatenate(chosen)[:, 2 - side]
            sigma = np.sqrt(2 / 20)
            assert abs(difference.mean() - coh / 100) < 5 * sigma / np.sqrt(len(difference))
            np.testing.assert_allclose(difference.std(), sigma, rtol=0.05)


@pytest.mark.parametrize("task", ["PerceptualDecisionMaking-v0", "ReadySetGo-v0", "yang19.dm1-v0", "MotorTiming-v0"])
@pytest.mark.parametrize("source", ["auto", "neurogym"])
def test_trials_follow_their_seed(task, source):
    env_kwargs = {"dt": 20, **({"timing": tasks.TUTORIAL_TIMING} if task == tasks.TUTORIAL_TASK else {})}
    first, same, other = (ei.make_trials(task, 20, seed, env_kwargs, source) for seed in (3, 3, 4))
    for one, two in zip(first, same):
        np.testing.assert_array_equal(one.inputs, two.inputs)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert one.periods == two.periods
        assert str(one.info) == str(two.info)
    assert any(not np.array_equal(one.inputs, two.inputs) for one, two in zip(first, other))


def test_evaluation_timing_is_500_500():
    trials = ei.make_trials(tasks.TUTORIAL_TASK, 20, 0, tasks.evaluation_env_kwargs(tasks.TUTORIAL_TASK, None))
    expected = {"fixation": (0, 25), "stimulus": (25, 50), "delay": (50, 50), "decision": (50, 55)}
    assert all(trial.periods == expected for trial in trials)
    assert tasks.evaluation_env_kwargs("GoNogo-v0", {"dt": 50}) == {"dt": 50}


TUTORIAL_AS_JSON = {"fixation": [50, 100, 200, 400], "stimulus": ["choice", [100, 200, 400, 800.0]], "delay": 0}


def test_what_is_evaluated_is_what_was_trained():
    """500/500 ms belongs to the tutorial's own timing, however that is written."""
    for timing in (tasks.TUTORIAL_TIMING, TUTORIAL_AS_JSON, {**tasks.TUTORIAL_TIMING, "decision": ["constant", 100]}):
        found = tasks.evaluation_env_kwargs(tasks.TUTORIAL_TASK, {"sigma": 2.0, "dt": 20, "timing": timing})
        assert found == {"sigma": 2.0, "dt": 20, "timing": {**timing, **tasks.EVALUATION_TIMING}}
    for timing in (
        {"fixation": 100, "stimulus": 2000, "decision": 200}, {**tasks.TUTORIAL_TIMING, "delay": 100}, None, {},
        {**tasks.TUTORIAL_TIMING, "fixation": [50, 100, 200]}, {"fixation": 60},
        {**tasks.TUTORIAL_TIMING, "decision": 60},
        {**tasks.TUTORIAL_TIMING, "stimulus": ["uniform", [100, 800]]},
    ):  # fmt: skip
        assert tasks.evaluation_env_kwargs(tasks.TUTORIAL_TASK, {"timing": timing}) == {"timing": timing}
    other = tasks.evaluation_env_kwargs(tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"delay": 60}}, {"stimulus": 800})
    assert other == {"dt": 20, "timing": {"delay": 60, "stimulus": 800}}
    with pytest.raises(ValueError, match="timing must be a dict of periods, found 5"):
        tasks.evaluation_env_kwargs(tasks.TUTORIAL_TASK, None, 5)


# --- streams of their own --------------------------------------------------------------------------

OWN = [
    (tasks.TUTORIAL_TASK, {"dt": 20}),
    ("ContextDecisionMaking-v0", {"dt": 20, "use_expl_context": True}),  # a delay with a generator of its own
    ("DelayComparison-v0", {"dt": 50}),
    ("MultiSensoryIntegration-v0", {"dt": 50}),
]


@pytest.mark.parametrize(("task", "env_kwargs"), OWN)
def test_streams_of_a_tuple_are_numpy_s_whoever_draws(task, env_kwargs):
    """Compiled, neurogym, and environments seeded by hand: column b is RandomState([*seed, b])."""
    seed = (tasks.TRAIN, 7)
    ours, theirs = (ei.make_batches(task, 3, 400, seed, env_kwargs, source) for source in ("compiled", "neurogym"))
    first, total = next(ours), 0
    for ours_now, theirs_now in zip((first, next(ours), next(ours)), theirs):
        np.testing.assert_array_equal(ours_now[0], theirs_now[0])
        np.testing.assert_array_equal(ours_now[1], theirs_now[1])
    later = next(ei.make_batches(task, 3, 400, seed, env_kwargs, start=2))
    np.testing.assert_array_equal(later[0], ours_now[0])
    for b in range(3):
        with tasks.quiet():
            import neurogym

            env = neurogym.make(task, **env_kwargs).unwrapped
            env.rng = np.random.RandomState([*seed, b])
            for timing in env.timing.values():
                if callable(timing):
                    timing.rng = np.random.RandomState([*seed, b])
            while total < 400:
                env.new_trial()
                n = min(400 - total, len(env.gt))
                np.testing.assert_array_equal(first[0][total : total + n, b], env.ob[:n])
                total += n
        total = 0
    trials = [ei.make_trials(task, 5, seed, env_kwargs, source) for source in ("compiled", "neurogym")]
    for one, two in zip(*trials):
        np.testing.assert_array_equal(one.inputs, two.inputs)
        assert one.dt == two.dt == env_kwargs["dt"]


def test_no_two_seeds_share_a_stream():
    """Whatever their lengths: NumPy's seeding takes [5, 4] and [5, 4, 3] for one key, and [3, 1] for [3, 1, 0]."""
    assert np.random.RandomState([5, 4]).rand() == np.random.RandomState([5, 4, 3]).rand()
    assert np.random.default_rng([3, 1]).random() == np.random.default_rng([3, 1, 0]).random()
    seeds = [
        5, 3, 0, 1, (5,), (5, 4), (5, 4, 3), (3,), (3, 1), (3, 1, 0), (0,), (0, 0), (1,), (1, 0), (7,), (7, 2),
        (7, 2, 5), (tasks.EVALUATE, 0), (tasks.EVALUATE, 0, tasks.PROBE), (tasks.TRAIN, 0), (0, 2**32 - 1),
    ]  # fmt: skip
    for generator in (seeds_of_tasks.random_state, own.generator):
        first: dict = {}
        for seed in seeds:
            for column in range(6):
                numbers = bytes(generator(seed, column).bytes(16))
                if isinstance(seed, int) and generator is seeds_of_tasks.random_state:  # neurogym's promise
                    assert numbers == np.random.RandomState(seed + column).bytes(16)
                    continue
                assert numbers not in first, (seed, column, first[numbers])
                first[numbers] = seed, column
    assert seeds_of_tasks.key_of((3, 1), 7) == [3, 1, 7]  # as documented


def test_a_worker_draws_the_streams_of_a_tuple():
    arguments = "ReadySetGo-v0", 2, 50, (tasks.TRAIN, 3), {"dt": 20}, "neurogym"
    with ei.make_batches(*arguments, worker=True, start=2) as ahead:
        plain = ei.make_batches(*arguments)
        assert ahead.dt == plain.dt == 20
        for _ in range(3):
            expected = next(plain)
        np.testing.assert_array_equal(next(ahead)[0], expected[0])


def stimuli(task, env_kwargs, seeds, n=300):
    """The noisy inputs of each column, as sets of bytes."""
    found = []
    for seed in seeds:
        inputs = next(ei.make_batches(task, 16, n, seed, env_kwargs))[0]
        rows, counts = np.unique(inputs.reshape(-1, inputs.shape[2]), axis=0, return_counts=True)
        found.append({row.tobytes() for row in rows[counts == 1]})  # what has no noise is there many times
    return found


@pytest.mark.parametrize(("task", "env_kwargs"), OWN)
def test_no_trial_is_drawn_twice_by_runs_and_evaluations(task, env_kwargs):
    seeds = [(purpose, seed) for purpose in (tasks.TRAIN, tasks.EVALUATE) for seed in (0, 1, 2)]
    seeds += [(tasks.EVALUATE, 0, tasks.PROBE), 0, 40, tasks.EVALUATE, (0, 1), (1, 0)]
    found = stimuli(task, env_kwargs, seeds)
    assert min(map(len, found)) > 1000
    assert len(set().union(*found)) == sum(map(len, found))
    one, next_one = stimuli(task, env_kwargs, (0, 1))  # neurogym's promise, and what it means
    assert len(one & next_one) > 0.9 * len(one)


@pytest.mark.parametrize("seed", [(), (1, -1), (1, 2**32), (1, "a"), (1, 0.5), (True,), [1, 2]])
def test_bad_seeds(seed):
    for make in (ei.make_batches, lambda seed: ei.make_trials(tasks.TUTORIAL_TASK, 2, seed)):
        with pytest.raises(ValueError, match=r"^seed\S* must be an integer"):
            make(seed=seed)


# --- nothing to learn ------------------------------------------------------------------------------

UNSOUND = [
    (tasks.TUTORIAL_TASK, {"dt": 150, "timing": tasks.TUTORIAL_TIMING}, "dt 150 ms: period decision of 100 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 100, "timing": tasks.TUTORIAL_TIMING}, "dt 100 ms: period fixation of 50 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"decision": 10}}, "dt 20 ms: period decision of 10 ms gets no time"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"stimulus": ["uniform", [5, 400]]}}, "period stimulus of 5 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"stimulus": ["uniform", [0, 400]]}}, "period stimulus of 10 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"delay": ["truncated_exponential", [100, 10]]}}, "delay of 10 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"delay": [0, 15, 300]}}, "delay of 15 ms"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"decision": 0}}, "every label of its trials is 0"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "timing": {"stimulus": 0}}, "its inputs do not depend on the answer"),
    (tasks.TUTORIAL_TASK, {"dt": 20, "cohs": [0]}, "its inputs do not depend on the answer"),
    ("PulseDecisionMaking-v0", {"dt": 20}, "dt 20 ms: period cue0 of 10 ms gets no time step"),
    ("PulseDecisionMaking-v0", {"dt": 10, "timing": {f"cue{i}": 0 for i in range(6)}}, "do not depend on the answer"),
    ("MotorTiming-v0", {"dt": 80}, "period set of 50 ms"),
    ("GoNogo-v0", {"dt": 20, "timing": {"stimulus": 0}}, "its inputs do not depend on the answer"),
    ("GoNogo-v0", {"dt": 20, "timing": {"decision": 0}}, "every label of its trials is 0"),
    ("ContextDecisionMaking-v0", {"dt": 20, "use_expl_context": True, "timing": {"stimulus": 0}}, "do not depend"),
    ("ContextDecisionMaking-v0", {"dt": 400}, "ContextDecisionMaking-v0 cannot be learnt at dt 400 ms: period"),
    (
        tasks.TUTORIAL_TASK,
        {"dt": 20, "timing": {"stimuluss": 500}},
        "^timing names 'stimuluss', which task Percep.* deci",
    ),
    (
        "DelayComparison-v0",
        {"dt": 20, "timing": {"delay": 0, "stimulus": 9}},
        "^timing names 'stimulus', which.* stimulus1",
    ),
    (
        "GoNogo-v0",
        {"dt": 20, "timing": {"Stimulus": 500, "go": 3}},
        "^timing names 'Stimulus', 'go', which task GoNogo-v0",
    ),
]


@pytest.mark.parametrize("source", ["auto", "neurogym"])
@pytest.mark.parametrize(("task", "env_kwargs", "message"), UNSOUND, ids=[f"{c[0]} {c[1]}" for c in UNSOUND])
def test_what_cannot_be_learnt_is_refused(task, env_kwargs, message, source):
    network = ei.ModelConfig(dt=env_kwargs["dt"], tau=1000)
    for make in (
        lambda: ei.make_batches(task, 2, 10, env_kwargs=env_kwargs, source=source),
        lambda: ei.make_trials(task, 2, env_kwargs=env_kwargs, source=source),
        lambda: ei.evaluate(network, ei.init_params(network), task, env_kwargs, 5),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dt", [10, 20, None])
@pytest.mark.parametrize("task", sorted(set(ALL_EXTENDED_ENVS) - REFUSED))
def test_what_can_be_learnt_is_not_refused(task, dt):
    if (task, dt) in {("PulseDecisionMaking-v0", 20), ("MotorTiming-v0", None)}:
        return  # above
    assert tasks.check_sound(task, {} if dt is None else {"dt": dt}) > 0


@pytest.mark.parametrize(
    ("task", "env_kwargs"),
    [
        (tasks.TUTORIAL_TASK, {"dt": 20, "cohs": [0, 0.1]}),
        (tasks.TUTORIAL_TASK, {"dt": 0.1, "timing": {p: 0.3 for p in ("fixation", "stimulus", "decision")}}),
        ("IntervalDiscrimination-v0", {"dt": 20}),  # the answer is in the timing alone
        ("ProbabilisticReasoning-v0", {"dt": 20, "n_loc": 1}),  # labels that the inputs make only likely
        ("DelayComparison-v0", {"dt": 20, "timing": {"stimulus1": 0}}),  # half of it can be known
    ],
)
def test_what_can_be_learnt_in_part_is_not_refused(task, env_kwargs):
    assert tasks.check_sound(task, env_kwargs) == env_kwargs["dt"]


ODD_TIMING = {"fixation": 100, "stimulus": ("choice", [500, 300]), "decision": ("uniform", [90, 100])}


@pytest.mark.parametrize(
    ("task", "env_kwargs", "expected"),
    [
        (tasks.TUTORIAL_TASK, {"dt": 30, "timing": ODD_TIMING}, {"fixation": (100, 90), "stimulus": (500, 480)}),
        ("MultiSensoryIntegration-v0", {"dt": 20}, {"stimulus": (750, 740)}),
        ("GoNogo-v0", {"dt": 20, "timing": {"delay": 510}}, {"delay": (510, 500)}),
        ("GoNogo-v0", {"dt": 10}, {}),
    ],
)
def test_periods_that_lose_a_part_of_a_step_are_known(task, env_kwargs, expected):
    assert tasks.cut_periods(task, env_kwargs) == expected
    for trial in ei.make_trials(task, 20, env_kwargs=env_kwargs):
        for period, (_, got) in expected.items():
            start, end = trial.periods[period]
            assert (end - start) * env_kwargs["dt"] in (got, 300)


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("PerceptualDecisionMaking", "unknown task .*; did you mean PerceptualDecisionMaking-v0"),
        ("yang19.dm1", r"unknown task 'yang19.dm1'; did you mean .*yang19\.dm1-v0"),
        ("contextdecisionmaking-v0", "did you mean .*ContextDecisionMaking-v0"),
        ("qqqq", "^unknown task 'qqqq'$"),
        ("", "unknown task ''"),
        (None, "task must be the name of a task, a neurogym TrialEnv or a function, found None"),
        (
            "ReachingDelayResponse-v0",
            r"ReachingDelayResponse-v0 does not fit: its actions are not one discrete .*Box",
        ),
        ("Bandit-v0", "Bandit-v0 does not fit: it gives no ground truth"),
        ("EconomicDecisionMaking-v0", "EconomicDecisionMaking-v0 does not fit: it gives no ground truth"),
        ("Reaching1D-v0", "Reaching1D-v0 does not fit: its ground truth is not one of its actions"),
    ],
)
@pytest.mark.parametrize("make", [ei.make_batches, lambda task: ei.make_trials(task, 2)], ids=["batches", "trials"])
def test_tasks_that_do_not_fit_are_refused_with_the_reason(task, message, make):
    with pytest.raises(ValueError, match=message) as caught:
        make(task)
    assert "\n" not in str(caught.value)


BAD_ENV_KWARGS = [
    ({"colour": "red"}, "colour"),
    ({"dt": 0}, "dt"),
    ({"dt": 5000}, "dt longer than every period"),
    ({"dt": "fast"}, "fast"),
    ({"timing": 5}, "timing"),
    ({"timing": {"stimulus": ["choice", []]}}, "stimulus"),
    ({"timing": {"stimulus": ["gaussian", [1, 2]]}}, "gaussian"),
    ({"sigma": "a"}, "sigma"),
    ({"cohs": ["high"]}, "cohs"),
    ({"dim_ring": 0}, "dim_ring"),
    ({1: 2}, "keywords must be strings"),
    ("dt", "env_kwargs must be a dict of keyword arguments, found str"),
    ([("dt", 20)], "env_kwargs must be a dict"),
]


@pytest.mark.parametrize(("env_kwargs", "message"), BAD_ENV_KWARGS, ids=[str(case[0]) for case in BAD_ENV_KWARGS])
@pytest.mark.parametrize("source", ["auto", "neurogym"])
def test_bad_arguments_of_a_task(env_kwargs, message, source):
    with pytest.raises(ValueError, match=message) as caught:
        ei.make_batches(env_kwargs=env_kwargs, source=source)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        ei.make_trials(tasks.TUTORIAL_TASK, 2, env_kwargs=env_kwargs, source=source)


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "batch_size": [0, -1, 1.0, True, None, "3"],
        "seq_len": [0, -1, 1.0, True, None, "3"],
        "seed": [-1, 0.0, True, None, 2**32, "0"],
        "source": ["jax", None, ""],
    }.items(),
)
def test_bad_arguments_of_make_batches(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"{name} must be"):
            ei.make_batches(**{name: value})


@pytest.mark.parametrize("seed", [-1, 0.5, True, None, 2**32])
def test_bad_seed_of_make_trials(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        ei.make_trials(tasks.TUTORIAL_TASK, 2, seed)


# --- quiet -----------------------------------------------------------------------------------------


def test_no_warning_gets_out_and_the_filters_stay_as_they_were():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        for source in ("auto", "neurogym"):
            next(ei.make_batches(source=source))
            ei.make_trials("GoNogo-v0", 2, source=source)
        with pytest.raises(ValueError, match="no ground truth"):
            ei.make_batches("Bandit-v0")
        assert warnings.filters == before
        assert caught == []
        warnings.warn("a user's own", stacklevel=1)  # is still seen
        assert len(caught) == 1


def test_other_generators_are_left_alone():
    before = np.random.get_state()[1].copy()
    for source in ("auto", "neurogym"):
        next(ei.make_batches(source=source))
        ei.make_trials(tasks.TUTORIAL_TASK, 5, source=source)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_batches_that_end_before_the_decision_are_refused():
    """Dataset's cache of 33 inputs x 16 columns is two windows of 100, of which it gives out one."""
    with pytest.raises(ValueError, match="never show another label of yang19.dlydm1-v0 than 0: .* every 100 steps"):
        ei.make_batches("yang19.dlydm1-v0", 16, 100, env_kwargs={"dt": 20})
    batches = ei.make_batches("yang19.dlydm1-v0", 16, 150, env_kwargs={"dt": 20})
    assert any(next(batches)[1].any() for _ in range(20))
