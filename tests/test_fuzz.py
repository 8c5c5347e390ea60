"""Whatever is passed or read: the right answer, or a ValueError or TypeError that names the argument; inputs unchanged.

hypothesis draws the cases, always the same ones (derandomize); tests/fuzz/readers.py looks further, with atheris.
"""

import json
import math
import re
import shutil

import numpy as np
import pytest
from conftest import make_problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import eirnn_np as ei
from eirnn_np import kernels
from eirnn_np.checkpoint import CHECKPOINT
from eirnn_np.files import digest_of, load_tensors, save_tensors
from eirnn_np.runs import RunError, Settings, read_run

OURS = (ValueError, TypeError)


def cases(n):
    return settings(max_examples=n, derandomize=True, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip


# --- arrays ----------------------------------------------------------------------------------------

FLOATS = st.sampled_from([0.0, -0.0, 1.0, -2.5, 5e-324, 1e-45, 1e-38, 1e38, 1e39, 1e308, math.inf, -math.inf, math.nan])
DTYPES = ["float16", "float32", "float64", "longdouble", "int8", "int64", "uint64", "bool", "complex64", ">f4", ">i8"]


@st.composite
def arrays(draw, shape):
    """An array of about this shape: of any dtype, rank, memory order, alignment, and values of any kind."""
    if draw(st.integers(0, 3)) == 0:
        shape = draw(
            st.one_of(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), st.permutations(shape))
        )
    shape = tuple(shape)
    dtype = draw(st.sampled_from(DTYPES))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([None, "text", {}, [[1], [1, 2]], 1.5, np.full(shape, None), np.full(shape, "a"),
                                     np.zeros(shape, "M8[s]"), [], iter([]), object()]))  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 3)))
    with np.errstate(all="ignore"):
        array = (rng.normal(0, 1, shape) if dtype[-2] == "f" or "f" in dtype else rng.integers(0, 3, shape)).astype(
            dtype
        )
    if array.size and draw(st.integers(0, 2)) == 0:
        index = tuple(draw(st.integers(0, n - 1)) for n in shape)
        with np.errstate(all="ignore"):
            array[index] = (
                np.array(draw(FLOATS)).astype(dtype) if array.dtype.kind == "f" else draw(st.integers(0, 100))
            )
    form = draw(st.integers(0, 5))
    if form == 1:
        array = np.asfortranarray(array)
    elif form == 2 and array.ndim:
        array = np.repeat(array, 2, axis=0)[::2]
    elif form == 3 and array.ndim:
        array = array[::-1]
    elif form == 4:
        raw = np.zeros(array.nbytes + 1, np.uint8)
        odd = raw[1:].view(array.dtype).reshape(array.shape) if array.size else array
        odd[...] = array
        array = odd
    elif form == 5:
        array = array.tolist() if array.dtype.kind in "fiub" and array.dtype != np.longdouble else array
    if isinstance(array, np.ndarray) and draw(st.booleans()):
        array.flags.writeable = False
    return array


def attempt(call, *arguments, allowed=OURS, **options):
    """(result, None), or (None, the error) for one of ours; any other is let through and fails the test."""
    try:
        with np.errstate(all="ignore"):
            return call(*arguments, **options), None
    except allowed as error:
        return None, error


def copy_of(value):
    return value.copy() if isinstance(value, np.ndarray) else repr(value)


def unchanged(value, before):
    if not isinstance(value, np.ndarray):
        return repr(value) == before
    return np.array_equal(value, before, equal_nan=value.dtype.kind in "fc") and value.dtype == before.dtype


def valid(value, shape=None, dtype="float64"):
    """The array that `value` stands for, if it is one of real numbers (of this shape), finite also in `dtype`."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return None
    if array.dtype.kind not in "fiub" or shape not in (None, array.shape):
        return None
    with np.errstate(all="ignore"):
        array = array.astype(dtype)
    return array if np.isfinite(array).all() else None


PROBLEMS = {
    (dtype, loss): make_problem(4, 3, n_hidden=5, n_in=2, n_out=3, dtype=dtype, loss=loss)
    for dtype in ("float32", "float64")
    for loss in ("cross_entropy", "squared_error")
}


@cases(500)
@given(inputs=arrays((4, 3, 2)), noise=st.none() | arrays((4, 3, 5)), dtype=st.sampled_from(["float32", "float64"]))
def test_forward(inputs, noise, dtype):
    p = PROBLEMS[dtype, "cross_entropy"]
    before = copy_of(inputs), copy_of(noise), p.params.flat.copy()
    u = valid(inputs, dtype=dtype)
    fits = u is not None and u.ndim == 3 and u.shape[2] == 2 and u.size > 0
    e = np.zeros((*u.shape[:2], 5), dtype) if fits and noise is None else None
    if fits and noise is not None:
        e = valid(noise, (*u.shape[:2], 5), dtype)
    found, error = attempt(ei.forward, p.config, p.params, inputs, noise)
    if error is not None:
        assert e is None, error
        assert re.match("inputs|noise", str(error))
    else:
        assert e is not None
        expected, _ = attempt(ei.forward, p.config, p.params, u, e, backend="numpy")
        largest = max(1, np.abs(u).max(), np.abs(e).max())
        if largest < 1e30:
            np.testing.assert_allclose(found.outputs, expected.outputs, rtol=0, atol=1e-4 * largest)
    assert unchanged(inputs, before[0])
    assert unchanged(noise, before[1])
    assert p.params.flat.tobytes() == before[2].tobytes()


@cases(500)
@given(
    case=st.sampled_from(list(PROBLEMS)), labels=arrays((4, 3)) | arrays((4, 3, 3)), weights=st.none() | arrays((4, 3))
)
def test_loss_and_step(case, labels, weights):
    """The same answer or refusal from loss_and_grads by both backends and from Trainer.step."""
    p = PROBLEMS[case]
    before = copy_of(labels), copy_of(weights)
    outcomes = []
    for call in (
        lambda: ei.loss_and_grads(p.config, p.params, p.inputs, labels, p.noise, weights)[0],
        lambda: ei.loss_and_grads(p.config, p.params, p.inputs, labels, p.noise, weights, backend="numpy")[0],
        lambda: ei.Trainer(p.config, p.params.copy()).step(p.inputs, labels, weights),
    ):
        loss, error = attempt(call)
        outcomes.append(loss if error is None else str(error))
        assert error is None or re.match("labels|weights", str(error)), error
    assert [type(o) for o in outcomes] == [type(outcomes[0])] * 3
    if not isinstance(outcomes[0], str):
        target = valid(labels, (4, 3, 3) if case[1] == "squared_error" else (4, 3), case[0])
        assert target is not None
        if case[1] == "cross_entropy":
            counted = np.ones((4, 3), bool) if weights is None else np.asarray(weights) != 0
            assert ((target >= 0) & (target < 3))[counted].all()  # a time step of weight 0 may hold any label
        if math.isfinite(outcomes[1]):
            assert outcomes[0] == pytest.approx(outcomes[1], rel=1e-4)
    assert unchanged(labels, before[0])
    assert unchanged(weights, before[1])


def test_no_memory_order_compiles_a_kernel_anew():
    p = PROBLEMS["float32", "cross_entropy"]
    trainer, weights = ei.Trainer(p.config, p.params.copy()), np.ones((3, 4)).T
    trainer.step(p.inputs, p.labels)
    before = len(kernels.step.signatures), len(kernels.apply_update.signatures)
    frozen = p.inputs.copy()
    frozen.flags.writeable = False
    for inputs, labels in ((np.asfortranarray(p.inputs), p.labels[::-1]), (frozen, p.labels.astype(">i4"))):
        trainer.step(inputs, labels, weights)
    assert (len(kernels.step.signatures), len(kernels.apply_update.signatures)) == before


@cases(300)
@given(values=arrays((5, 5)), name=st.sampled_from(["mask", "tau", "w_rec", "areas"]))
def test_networks_from_arrays(values, name):
    """A mask, time constants, parameters and areas that are any array at all."""
    before = copy_of(values)
    row = values[0] if isinstance(values, np.ndarray) and values.ndim == 2 and len(values) else values
    state = ei.init_params(ei.ModelConfig(n_hidden=5)).state_dict() | {"rnn.h2h.weight": values}
    make = {
        "mask": lambda: ei.sign_mask(ei.ModelConfig(n_hidden=5, mask=values)),
        "tau": lambda: ei.ModelConfig(n_hidden=5, tau=row).alpha,
        "areas": lambda: ei.block_mask(ei.ModelConfig(n_hidden=5), row, np.ones((3, 3))),
        "w_rec": lambda: ei.Params.from_state_dict(state).w_rec,
    }
    found, error = attempt(make[name])
    if error is None:
        assert found.shape == ((5,) if name == "tau" else (5, 5))
        assert np.isfinite(found).all()
        assert name != "tau" or ((found > 0) & (found <= 1)).all()
    else:
        assert re.search(r"mask|tau|areas|rnn\.h2h\.weight|dtype|matrices", str(error)), error
    assert unchanged(values, before)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 6), st.sampled_from([2**31, 2**32, 2**64, 10**30, -(2**63)]), FLOATS,
    st.text(max_size=4), st.just([]), st.just({}), st.just((0.9, 0.99)),
    st.sampled_from(["float64", "numpy", "neurogym"]),
    st.sampled_from([np.float32(0.5), np.int8(3), np.array(2), np.zeros(2), object, b"x", 1j]),
)  # fmt: skip
SCALARS = {
    "ModelConfig": (ei.ModelConfig, ["n_in", "n_hidden", "n_out", "dt", "tau", "e_ratio", "sigma_rec", "dynamics",
                                     "loss", "train_x0", "mask"]),
    "Adam": (ei.Adam, ["lr", "betas", "eps"]),
    "init_params": (lambda **k: ei.init_params(ei.ModelConfig(), **k), ["seed", "dtype"]),
    "recurrent_noise": (lambda **k: ei.recurrent_noise(ei.ModelConfig(), **{"n_time": 2, "n_batch": 1, **k}),
                        ["seed", "step", "dtype"]),
    "sparse_mask": (lambda **k: ei.sparse_mask(ei.ModelConfig(n_hidden=5), **{"p": 0.5, **k}), ["p", "seed"]),
    "Trainer": (lambda **k: ei.Trainer(ei.ModelConfig(), ei.init_params(ei.ModelConfig()), **k),
                ["lr", "seed", "threads"]),
    "make_batches": (lambda **k: ei.make_batches(**{"batch_size": 2, "seq_len": 3, **k}),
                     ["task", "seed", "env_kwargs", "source", "start"]),
    "make_trials": (lambda **k: ei.make_trials(**{"task": "PerceptualDecisionMaking-v0", "n_trials": 2, **k}),
                    ["task", "seed", "env_kwargs", "source"]),
    "evaluate": (lambda **k: ei.evaluate(ei.ModelConfig(), ei.init_params(ei.ModelConfig()), **{"n_trials": 2, **k}),
                 ["task", "env_kwargs", "seed"]),
    "Settings": (Settings, ["steps", "batch_size", "seq_len", "lr", "seed", "dtype", "threads", "task", "env_kwargs",
                            "source", "print_every", "trials", "checkpoint_every"]),
}  # fmt: skip
SIZES = {"make_batches": ["batch_size", "seq_len"], "make_trials": ["n_trials"], "evaluate": ["n_trials"],
         "recurrent_noise": ["n_time", "n_batch"]}  # fmt: skip


@pytest.mark.parametrize("function", SCALARS)
def test_arguments_that_are_anything(function):
    call, names = SCALARS[function]

    @cases(150)
    @given(name=st.sampled_from(names), value=ANYTHING)
    def check(name, value):
        if name == "start" and isinstance(value, int) and value > 10**6:
            return  # as many batches would be drawn and dropped
        error = attempt(call, **{name: value})[1]
        assert error is None or name in str(error) or str(value) in str(error), (name, error)

    check()


@pytest.mark.parametrize("function", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "3", [2], math.nan, math.inf, 2**64, np.float32(2)])
def test_sizes_that_are_none(function, value):
    for name in SIZES[function]:
        with pytest.raises(OURS, match=name):
            SCALARS[function][0](**{name: value})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ei.Adam(lr="x"), "lr"),
        (lambda: ei.Adam(betas=0.9), "betas"),
        (lambda: ei.make_batches(task=["a"]), "task"),
        (lambda: ei.ModelConfig(dt=True), "dt"),
        (lambda: ei.init_params(ei.ModelConfig(), dtype=None), "dtype"),
        (lambda: ei.ModelConfig(tau="100"), "tau"),
    ],
)
def test_once_they_got_through(call, name):
    with pytest.raises(OURS, match=name):
        call()


# --- what a task takes -----------------------------------------------------------------------------

NUMBER = st.one_of(st.integers(-5, 2000), st.sampled_from([0.5, 1e-9, 1e9, 1e300, math.inf, math.nan, 5e-324]))
TIMES = st.one_of(
    NUMBER,
    st.lists(NUMBER, max_size=3),
    st.tuples(st.sampled_from(["choice", "uniform", "truncated_exponential", "constant", "until", "x"]),
              st.one_of(NUMBER, st.lists(NUMBER, max_size=4))),
    ANYTHING,
)  # fmt: skip
KWARGS = st.fixed_dictionaries(
    {},
    optional={
        "dt": st.one_of(NUMBER, ANYTHING),
        "timing": st.one_of(
            ANYTHING, st.dictionaries(st.sampled_from(["fixation", "stimulus", "x"]), TIMES, max_size=2)
        ),
        "sigma": st.one_of(NUMBER, ANYTHING),
        "cohs": st.one_of(st.lists(NUMBER, max_size=3), ANYTHING),
        "rewards": ANYTHING,
        "colour": ANYTHING,
    },
)


@cases(150)
@given(task=st.sampled_from(["PerceptualDecisionMaking-v0", "GoNogo-v0", "DelayComparison-v0"]), env_kwargs=KWARGS)
def test_keyword_arguments_of_a_task(task, env_kwargs):
    before = repr(env_kwargs)
    batch, error = attempt(lambda: next(ei.make_batches(task, 2, 5, env_kwargs=env_kwargs)))
    if error is None:
        assert batch[0].shape[:2] == batch[1].shape == (5, 2)
    else:
        assert "\n" not in str(error)
    assert repr(env_kwargs) == before


# --- files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of each kind, small."""
    from eirnn_np.cli import main

    folder = tmp_path_factory.mktemp("files")
    arguments = "train --hidden 5 --steps 2 --batch-size 2 --seq-len 5 --trials 3 --no-figures --out".split()
    assert main([*arguments, str(folder / "run")]) == 0
    (folder / "run" / "checkpoint.previous.safetensors").unlink()
    ei.write_golden(folder / "golden", ei.ModelConfig(n_hidden=4), 3, 2)
    return folder


READERS = {
    "params": ("run/params.safetensors", ei.load_params),
    "checkpoint": (f"run/{CHECKPOINT}", lambda path: ei.load_checkpoint(path.parent)),
    "golden": ("golden", lambda path: ei.compare_golden(path, path)),
    "config": ("run/config.json", lambda path: read_run(path.parent)),
    "losses": ("run/loss.csv", lambda path: read_run(path.parent)),
}


@st.composite
def edits(draw):
    """[(where, as a share of the file; how many bytes go; what comes in their place)]"""
    piece = st.one_of(
        st.binary(max_size=9), st.sampled_from([b"\xff" * 8, b"\0" * 8, b'"', b"}", b"-1", b"1e999", b"null"])
    )
    return draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), piece), min_size=1, max_size=3))


@pytest.mark.parametrize("kind", READERS)
def test_spoiled_bytes(folder, tmp_path, kind):
    """Bytes changed, lost or added anywhere, half of the time near the start, where safetensors has its header."""
    name, read = READERS[kind]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    content = path.read_bytes()

    @cases(150)
    @given(changes=edits(), near=st.booleans())
    def check(changes, near):
        spoiled = bytearray(content)
        for share, gone, piece in changes:
            at = int(share * min(len(spoiled), 1500 if near else len(spoiled)))
            spoiled[at : at + gone] = piece
        path.write_bytes(spoiled)
        files = {p.name for p in tmp_path.rglob("*")}
        error = attempt(read, path, allowed=(*OURS, RunError))[1]
        assert len(str(error)) < 2000
        assert {p.name for p in tmp_path.rglob("*")} == files

    check()


JSON = st.recursive(
    st.one_of(ANYTHING.filter(lambda v: v is None or type(v) in (bool, int, float, str)), st.just(math.inf)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=4,
)


def places(value, path=()):
    """The paths of all values in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, inner in pairs for p in places(inner, (*path, key)))]


def put(value, path, new):
    if not path:
        return new
    copied = json.loads(json.dumps(value))
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copied


def test_any_json_in_config(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())

    @cases(300)
    @given(where=st.sampled_from(places(content)), value=JSON)
    def check(where, value):
        path.write_text(json.dumps(put(content, where, value)))
        error = attempt(read_run, path.parent, allowed=RunError)[1]
        assert "\n" not in str(error)

    check()


@pytest.mark.parametrize("kind", ["params", "checkpoint"])
def test_any_metadata_and_any_tensor(folder, tmp_path, kind):
    """Well-formed files whose content is wrong, the digest of a checkpoint made to fit."""
    name, read = READERS[kind]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tensors, metadata = load_tensors(tmp_path / name)
    metadata.pop("digest", None)

    @cases(120)
    @given(
        where=st.sampled_from(places(metadata)),
        value=JSON,
        tensor=st.none() | st.sampled_from(sorted(tensors)),
        array=hnp.arrays(
            st.sampled_from(["f2", "f4", "f8", "i8", "u1", "?"]), hnp.array_shapes(min_side=0, max_side=4)
        ),
    )
    def check(where, value, tensor, array):  # fmt: skip
        changed = metadata if tensor else put(metadata, where, value)
        content = {**tensors, tensor: array} if tensor else tensors
        if kind == "checkpoint" and isinstance(changed, dict):
            changed = {**changed, "digest": digest_of(content, changed)}
        save_tensors(tmp_path / name, content, changed)
        found, error = attempt(read, tmp_path / name)
        if error is not None:
            return
        arrays = found[1].flat if kind == "params" else found[0].params.flat
        assert np.isfinite(arrays).all()

    check()
