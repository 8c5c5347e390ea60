"""The compiled replay against neurogym itself, to the bit. The oracle here is neurogym.Dataset and env.new_trial,
nothing of ours."""

import functools
import itertools
import warnings
from importlib import metadata

import numpy as np
import pytest
from conftest import needs_neurogym

from eirnn_np.tasks import catalogue, replay
from eirnn_np.tasks.legacy import ATTEMPTS, below, double, normals, temper
from eirnn_np.tasks.replay import CompiledStream, compiled_trials, self_check, supports

PDM, CONTEXT, DELAY, MULTI = catalogue.TASKS
TUTORIAL = {
    "dt": 20,
    "timing": {"fixation": ("choice", (50, 100, 200, 400)), "stimulus": ("choice", (100, 200, 400, 800))},
}
SHORT = {"fixation": 100, "stimulus": 300, "delay": 60, "decision": 100}


def quiet(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return call


@quiet
def neurogym_batches(task, kwargs, batch_size, seq_len, seed, n):
    import neurogym

    dataset = neurogym.Dataset(task, env_kwargs=kwargs, batch_size=batch_size, seq_len=seq_len)
    dataset.seed(seed)
    dataset._cache()
    return [tuple(a.copy() for a in next(dataset)) for _ in range(n)]


@quiet
def neurogym_trials(task, kwargs, seed, n):
    import neurogym

    env = neurogym.make(task, **kwargs).unwrapped
    env.seed(seed)
    trials = []
    for _ in range(n):
        info = dict(env.new_trial())
        trials.append(
            (
                env.ob,
                env.gt,
                info,
                dict(env.start_ind),
                dict(env.end_ind),
                env.observation_space.shape[0],
                env.action_space.n,
            )
        )
    return trials


def assert_same_batches(stream, expected):
    for k, ((inputs, labels), (x, y)) in enumerate(zip(stream, expected)):
        assert inputs.dtype == x.dtype == np.float32
        assert labels.dtype == y.dtype == np.int64
        assert np.array_equal(inputs, x), f"inputs of batch {k}"
        assert np.array_equal(labels, y), f"labels of batch {k}"


def assert_same_trials(task, kwargs, seed, n):
    ours, theirs = compiled_trials(task, kwargs, n, seed), neurogym_trials(task, kwargs, seed, n)
    assert len(ours) == n
    for k, (ob, gt, info, start_ind, end_ind, *_) in enumerate(theirs):
        inputs, labels = ours[k]
        assert inputs.dtype == ob.dtype
        assert labels.dtype == gt.dtype
        assert np.array_equal(inputs, ob), f"inputs of trial {k}"
        assert np.array_equal(labels, gt), f"labels of trial {k}"
        assert set(ours.info) == set(info)
        for name, value in info.items():
            assert np.array_equal(ours.info[name][k], value), f"{name} of trial {k}"
        assert {name: v[k] for name, v in ours.start_ind.items()} == start_ind
        assert {name: v[k] for name, v in ours.end_ind.items()} == end_ind


# ---- the generator ----------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_legacy_generator_to_the_bit(seed):
    """All draws that tasks make, mixed, over many blocks of 624 words."""
    theirs = np.random.RandomState(seed)
    key, pos, words, has, kept, work = replay._streams(replay.describe(PDM, {}), [0], seed)
    lengths = np.random.RandomState(7).randint(0, 60, 1500)
    for n in map(int, lengths):
        assert [below(key[0], words[0], pos, m) for m in (1, 2, 3, n + 1, 1000)] == [
            theirs.randint(0, m) for m in (1, 2, 3, n + 1, 1000)
        ]
        assert double(key[0], words[0], pos) == theirs.random_sample()
        ours = np.empty(n)
        normals(ours, key[0], words[0], pos, has, kept, work)
        assert np.array_equal(ours, theirs.randn(n))
    big = np.empty(300_001)
    normals(big, key[0], words[0], pos, has, kept, work)
    assert np.array_equal(big, theirs.randn(big.size))
    state = theirs.get_state(legacy=False)
    assert np.array_equal(key[0], state["state"]["key"])
    assert pos[0] == state["state"]["pos"]
    assert (has[0], kept[0]) == (state["has_gauss"], state["gauss"])


@pytest.mark.parametrize("left", range(10))
def test_normals_at_the_end_of_a_block(left):
    """So many words of a block of 624 are left, a value is kept or not, and what is asked for is odd or nothing."""
    theirs = np.random.RandomState(left)
    for n in (0, 1, 2, 3, 6, 39, 250, 1001):
        for has_gauss in (0, 1):
            state = theirs.get_state(legacy=False)
            state["state"]["pos"] = 624 - left
            theirs.set_state({**state, "has_gauss": has_gauss, "gauss": 0.25 * has_gauss})
            state = theirs.get_state(legacy=False)
            key, pos = state["state"]["key"].astype(np.uint32), np.array([624 - left])
            has, kept = np.array([state["has_gauss"]]), np.array([state["gauss"]])
            words, work = np.empty(624, np.uint32), np.full((3, ATTEMPTS + 1), np.nan)
            temper(words, key)
            ours = np.empty(n)
            normals(ours, key, words, pos, has, kept, work)
            assert np.array_equal(ours, theirs.randn(n))
            state = theirs.get_state(legacy=False)
            assert np.array_equal(key, state["state"]["key"])
            assert (pos[0], has[0], kept[0]) == (state["state"]["pos"], state["has_gauss"], state["gauss"])


# ---- batches ----------------------------------------


@pytest.mark.parametrize("seed", [0, 42])
def test_two_thousand_batches_of_the_tutorial(seed):
    """133 refills of a cache of 16 windows."""
    assert_same_batches(
        CompiledStream(PDM, TUTORIAL, 16, 100, seed), neurogym_batches(PDM, TUTORIAL, 16, 100, seed, 2000)
    )


@pytest.mark.parametrize(
    ("batch_size", "seq_len", "seed", "n"),
    [
        (1, 100, 0, 300),  # one column: a cache of 250 windows
        (3, 7, 5, 1300),  # 1,190 windows of odd length
        (16, 1562, 1, 4),  # the cache is two windows: half of it is thrown away
        (16, 3000, 1, 4),  # the window is longer than Dataset wants its cache: a refill for each batch
        (25, 1000, 2, 5),  # cache_len // seq_len without a remainder
        (64, 50, 2**32 - 64, 40),  # up to the largest seed
    ],
)
def test_window_and_cache_arithmetic(batch_size, seq_len, seed, n):
    expected = neurogym_batches(PDM, TUTORIAL, batch_size, seq_len, seed, n)
    assert_same_batches(CompiledStream(PDM, TUTORIAL, batch_size, seq_len, seed), expected)


@pytest.mark.parametrize(
    ("task", "kwargs"),
    [
        (PDM, {}),
        (PDM, None),
        (CONTEXT, {"dt": 50}),
        (CONTEXT, {"dt": 50, "use_expl_context": True, "dim_ring": 3}),
        (DELAY, {"dt": 50}),
        (MULTI, {"dt": 50, "dim_ring": 5}),
    ],
)
def test_batches_of_every_task(task, kwargs):
    """Enough for two refills: the generators go on where they stand, also TruncExp's own in ContextDecisionMaking."""
    stream = CompiledStream(task, kwargs, 8, 100, 3)
    n = 2 * stream._windows + 3
    expected = neurogym_batches(task, kwargs, 8, 100, 3, n)
    assert (stream.n_in, expected[0][0].shape) == (expected[0][0].shape[2], (100, 8, stream.n_in))
    assert_same_batches(stream, expected)


def test_batches_are_the_callers():
    """A batch is not a view of anything that is written again."""
    stream, again = CompiledStream(PDM, TUTORIAL, 4, 2000, 0), CompiledStream(PDM, TUTORIAL, 4, 2000, 0)
    kept = [next(stream) for _ in range(12)]
    for x, y in kept:
        inputs, labels = next(again)
        assert np.array_equal(x, inputs)
        assert np.array_equal(y, labels)
    assert not any(np.shares_memory(a[0], b[0]) for a, b in itertools.combinations(kept, 2))


# ---- trials and timings ----------------------------------------

TIMINGS = [
    300,
    310.5,
    0,
    [100, 250, 400],
    (60, 130.7, 200),
    [200],
    ("choice", [100, 200]),
    ("choice", 37),
    ["choice", np.array([40.0, 95.5])],
    ("choice", (80,)),
    ("uniform", (50, 400)),
    ("uniform", (33.3, 777.7)),
    ("uniform", (400, 50)),
    ("constant", 250),
    ("constant", 99.9),
    ("truncated_exponential", (200,)),
    ("truncated_exponential", (300, 100)),
    ("truncated_exponential", [300, 100, 500]),
    ("truncated_exponential", (150.5, 20.25, 600.75)),
    ("truncated_exponential", (300, 500, 400)),
]


@pytest.mark.parametrize("timing", TIMINGS, ids=repr)
@pytest.mark.parametrize("dt", [20, 7, 12.5, 0.1])
def test_every_kind_of_timing(timing, dt):
    scale = 1 if dt > 1 else 0.01
    if timing != ("choice", 37):  # choice(n) is over 0 ... n - 1
        timing = _scaled(timing, scale)
    for period in ("fixation", "stimulus", "decision"):
        kwargs = {
            "dt": dt,
            "timing": {**{k: v * scale for k, v in SHORT.items()}, period: timing, "no_such_period": print},
        }
        assert supports(PDM, kwargs) is None
        assert_same_trials(PDM, kwargs, seed=11, n=12)


def _scaled(timing, by):
    if isinstance(timing, str) or by == 1:
        return timing
    if isinstance(timing, (int, float, np.ndarray)):
        return timing * by
    return type(timing)(_scaled(item, by) for item in timing)


@pytest.mark.parametrize(
    ("task", "kwargs"),
    [
        (PDM, {"sigma": 0}),
        (PDM, {"sigma": 2.5, "cohs": [3, 50.5, -20, 100]}),
        (PDM, {"cohs": (12,), "dim_ring": 1}),
        (PDM, {"cohs": []}),
        (PDM, {"dim_ring": 7, "abort": True, "rewards": {"abort": -1}, "timing": {"delay": [0, 100, 300]}}),
        (PDM, {"dim_ring": 64}),
        (CONTEXT, {}),
        (CONTEXT, {"impl_context_modality": 1, "dim_ring": 4}),
        (CONTEXT, {"use_expl_context": True, "sigma": 0.3}),
        (
            CONTEXT,
            {
                "use_expl_context": True,
                "dim_ring": 16,
                "timing": {"delay": ("uniform", (100, 500)), "stimulus": [100, 900]},
            },
        ),
        (CONTEXT, {"dim_ring": 1, "abort": True}),
        (DELAY, {}),
        (DELAY, {"vpairs": [(1, 2.5), (7, 3)], "sigma": 0.1, "dt": 30}),
        (DELAY, {"vpairs": np.array([[5, 2], [9, 1], [4, 4]])}),
        (
            DELAY,
            {
                "timing": {
                    "delay": ("truncated_exponential", (500, 100, 2000)),
                    "stimulus1": [200, 400],
                    "stimulus2": ("uniform", [0, 300]),
                }
            },
        ),
        (MULTI, {}),
        (MULTI, {"dim_ring": 6, "sigma": 0.5, "timing": {"stimulus": ("choice", (200, 700))}}),
        (MULTI, {"dim_ring": 1}),
    ],
)
def test_trials_and_info_of_every_task(task, kwargs):
    assert supports(task, kwargs) is None
    for seed in (0, 77):
        assert_same_trials(task, kwargs, seed, 60)
    *_, n_in, n_out = neurogym_trials(task, kwargs, 0, 1)[0]
    stream = CompiledStream(task, kwargs, 2, 10, 0)
    assert (stream.n_in, stream.n_out) == (n_in, n_out)


def test_five_hundred_trials_of_the_evaluation():
    kwargs = {"dt": 20, "timing": {"fixation": ("constant", 500), "stimulus": ("constant", 500)}}
    assert_same_trials(PDM, kwargs, 1234, 500)
    trials = compiled_trials(PDM, kwargs, 500, 1234)
    assert set(np.diff(trials.offset)) == {55}
    assert trials.inputs.shape == (500 * 55, 3)
    assert np.array_equal(trials[-1][0], trials[499][0])
    with pytest.raises(IndexError):
        trials[500]


def random_setting(rng):
    """A task and keyword arguments drawn at random."""

    def timing():
        a, b = sorted(rng.uniform(0, 400, 2).round(rng.randint(0, 3)))
        return [
            float(b + 20),
            int(b + 20),
            [int(a), int(b) + 30, 50],
            ("choice", (float(a), 40.0)),
            ("uniform", (float(a), float(b))),
            ("constant", int(b)),
            ("truncated_exponential", (float(a) + 10, 0, float(b) + 40)),
        ][rng.randint(7)]

    task = [PDM, CONTEXT, DELAY, MULTI][rng.randint(4)]
    periods = {DELAY: ("fixation", "stimulus1", "delay", "stimulus2"), MULTI: ("fixation", "stimulus")}
    periods = periods.get(task, ("fixation", "stimulus", "delay"))
    kwargs = {
        "dt": [10, 20, 33, 12.5, 100][rng.randint(5)],
        "sigma": float(rng.uniform(0, 2)),
        "timing": {p: timing() for p in periods if rng.rand() < 0.7},
    }
    if task != DELAY:
        kwargs["dim_ring"] = int(rng.randint(1, 9))
    if task == CONTEXT:
        kwargs["use_expl_context"] = bool(rng.randint(2))
    if task == PDM:
        kwargs["cohs"] = list(rng.uniform(-100, 100, rng.randint(1, 20)))
    return task, kwargs


def test_settings_at_random():
    rng = np.random.RandomState(2)
    for _ in range(150):
        task, kwargs = random_setting(rng)
        assert supports(task, kwargs) is None, kwargs
        assert_same_trials(task, kwargs, int(rng.randint(2**31)), 6)


# ---- state ----------------------------------------


# ---- what is refused, and the self-check ----------------------------------------


@pytest.mark.parametrize(
    ("task", "kwargs", "reason"),
    [
        ("GoNogo-v0", {}, "no compiled replay"),
        ("PerceptualDecisionMaking", {}, "no compiled replay"),
        (None, {}, "no compiled replay"),
        (PDM, [], "env_kwargs must be a dict"),
        (PDM, {"stim_scale": 1}, "'stim_scale'"),
        (DELAY, {"dim_ring": 2}, "'dim_ring'"),
        (PDM, {"timing": {"fixation": lambda: 100}}, "is a Python function"),
        (PDM, {"timing": {"fixation": ("until", 100)}}, "'until' is not reproduced"),
        (PDM, {"timing": {"fixation": "long"}}, "must be a number"),
        (PDM, {"timing": {"fixation": []}}, "must be a number"),
        (PDM, {"timing": {"fixation": None}}, "must be a number"),
        (PDM, {"timing": {"fixation": -20}}, "must be a plain finite number >= 0"),
        (PDM, {"timing": {"fixation": float("nan")}}, "plain finite number"),
        (PDM, {"timing": {"fixation": [100, -1]}}, "negative"),
        (PDM, {"timing": {"fixation": (100, "a")}}, "list of int or float"),
        (PDM, {"timing": {"fixation": ("uniform", (1, 2, 3))}}, "2 to 2"),
        (PDM, {"timing": {"fixation": ("uniform", (-50, 20))}}, ">= 0"),
        (PDM, {"timing": {"fixation": ("constant", [1])}}, "plain finite"),
        (PDM, {"timing": {"fixation": ("choice", [[1, 2]])}}, "1-d list"),
        (PDM, {"timing": {"fixation": ("truncated_exponential", ())}}, "1 to 3"),
        (PDM, {"timing": {"fixation": ("truncated_exponential", (1, 500, 600))}}, "rejected"),
        (PDM, {"timing": [100]}, "timing must be a dict"),
        (PDM, {"rewards": 1}, "rewards must be a dict"),
        (PDM, {"cohs": np.array([1, 2])}, "cohs must be a list"),
        (PDM, {"cohs": ["a"]}, "cohs"),
        (PDM, {"cohs": [np.nan]}, "cohs"),
        (PDM, {"dt": 0}, "dt must be > 0"),
        (PDM, {"dt": "20"}, "dt must be"),
        (PDM, {"sigma": np.inf}, "sigma"),
        (PDM, {"dim_ring": 0}, "dim_ring"),
        (PDM, {"dim_ring": 2.0}, "dim_ring"),
        (PDM, {"dt": 5000}, "single step"),
        (CONTEXT, {"impl_context_modality": 2}, "0 or 1"),
        (CONTEXT, {"use_expl_context": True, "dim_ring": 200}, "table of more than"),
        (DELAY, {"vpairs": [(1, 1)]}, "vpairs"),
        (DELAY, {"vpairs": [(1, 2, 3)]}, "vpairs"),
    ],
)
def test_refused_with_the_reason(task, kwargs, reason):
    assert reason in supports(task, kwargs)
    with pytest.raises(ValueError, match=".+"):
        CompiledStream(task, kwargs, 2, 10, 0)
    with pytest.raises(ValueError, match=".+"):
        compiled_trials(task, kwargs, 2, 0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0, 10, 0), "batch_size"), ((2, 1.5, 0), "seq_len"), ((2, 10, -1), "seed"), ((2, 10, None), "seed")],
)
def test_sizes_are_checked(arguments, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        CompiledStream(PDM, {}, *arguments)


@pytest.mark.parametrize("task", catalogue.TASKS)
def test_self_check_passes(task):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert self_check(task, {"dt": 20}, 4, 0) is None


@needs_neurogym
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"sigma": 1.0 + 1e-6}, "inputs"),
        ({"cohs": [0, 6.4, 12.8, 25.6, 51.3]}, "inputs"),
        ({"cohs": [0, 6.4]}, "inputs"),
        ({"timing": {"decision": 120}}, "inputs"),
    ],
)
def test_self_check_finds_planted_differences(monkeypatch, change, found):
    """The release of neurogym that is installed stands for one whose task has changed a little."""
    describe = replay.describe
    monkeypatch.setattr(replay, "describe", lambda task, kwargs: describe(task, {**(kwargs or {}), **change}))
    difference = self_check(PDM, {"dt": 20}, 4, 0, n_trials=10)
    assert difference is not None
    assert found in difference
    assert metadata.version("neurogym") in difference


def test_self_check_finds_another_gauss(monkeypatch):
    def other(out, *rng):
        normals(out, *rng)
        out[-1] = np.nextafter(out[-1], 9)

    monkeypatch.setattr(replay, "normals", other)
    assert "normals" in self_check(PDM, {"dt": 20}, 4, 0)
