"""Configuration, starting parameters, the flat buffer and its views, and parameter files."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import make_problem
from safetensors.numpy import save_file
from scipy import stats

import eirnn_np as ei
from eirnn_np.config import ModelConfig
from eirnn_np.files import load_tensors, save_tensors, write_file
from eirnn_np.params import Params

SMALL = {"n_in": 2, "n_hidden": 7, "n_out": 4}
LARGE = {"n_in": 30, "n_hidden": 200, "n_out": 60}  # E 160, H - E 40


# --- initialisation --------------------------------------------------------------------------------


def assert_uniform(values, k):
    assert 0.97 * k < np.abs(values).max() <= k * (1 + 1e-6)
    assert stats.kstest(values.ravel() / k, stats.uniform(-1, 2).cdf).pvalue > 1e-4


@pytest.mark.parametrize("seed", [0, 1, 2**63])
@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_starting_parameters_are_distributed_as_the_original_s(dynamics, seed):
    params = ei.init_params(ei.ModelConfig(**LARGE, dynamics=dynamics), seed)
    wide = np.sqrt(3) if dynamics == "brainpy" else 1.0
    assert_uniform(params.w_in, wide / np.sqrt(30))
    assert_uniform(params.w_out, wide / np.sqrt(160))
    assert_uniform(params.b_rec, 1 / np.sqrt(200))
    assert_uniform(params.b_out, 1 / np.sqrt(160))
    w_rec = params.w_rec.T if dynamics == "brainpy" else params.w_rec
    assert_uniform(w_rec[:, 160:], wide / np.sqrt(200))
    assert_uniform(w_rec[:, :160], wide / np.sqrt(200) / (160 / 40))
    if dynamics == "brainpy":
        assert (params.b_in == 0).all()
    else:
        assert_uniform(params.b_in, 1 / np.sqrt(30))


@pytest.mark.parametrize("e_ratio", [0.5, 0.8, 0.9])
def test_excitation_and_inhibition_balance(e_ratio):
    config = ei.ModelConfig(n_hidden=400, e_ratio=e_ratio)
    weights = ei.effective_weights(config, ei.init_params(config))
    excitation, inhibition = np.maximum(weights, 0).sum(), -np.minimum(weights, 0).sum()
    np.testing.assert_allclose(excitation, inhibition, rtol=0.02)


def test_numbers_are_independent_of_one_another():
    flat = ei.init_params(ei.ModelConfig(**LARGE), dtype="float64").flat
    assert len(np.unique(flat)) == flat.size
    assert abs(np.corrcoef(flat[1:], flat[:-1])[0, 1]) < 5 / np.sqrt(flat.size)


def test_starting_parameters_are_a_pure_function_of_the_seed():
    config = ei.ModelConfig(**SMALL)
    first = ei.init_params(config, 3).flat
    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(ei.init_params(config, 3).flat, first)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # NumPy's global generator is left alone
    np.testing.assert_allclose(ei.init_params(config, 3, "float64").flat, first, rtol=2e-7)  # one stream for both
    assert not np.isclose(ei.init_params(config, 4).flat, first).any()
    assert not np.isclose(ei.init_params(config, 3 + 2**32).flat, first).any()


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, True, None, "0"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        ei.init_params(ei.ModelConfig(), seed)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex128", "nonsense", np.int64])
def test_bad_dtype(dtype):
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        ei.init_params(ei.ModelConfig(), dtype=dtype)


# --- the flat buffer -------------------------------------------------------------------------------


@pytest.mark.parametrize("train_x0", [False, True])
def test_arrays_are_views_on_one_flat_buffer(train_x0):
    params = ei.init_params(ei.ModelConfig(**SMALL, train_x0=train_x0))
    shapes = {"w_in": (7, 2), "b_in": (7,), "w_rec": (7, 7), "b_rec": (7,), "w_out": (4, 5), "b_out": (4,)}
    if train_x0:
        shapes["x0"] = (7,)
    assert {name: array.shape for name, array in params.items()} == shapes
    assert (params.x0 is None) == (not train_x0)
    params.flat[...] = np.arange(params.flat.size)
    np.testing.assert_array_equal(np.concatenate([array.ravel() for _, array in params.items()]), params.flat)
    for i, (_, array) in enumerate(params.items()):
        array[...] = -i
    np.testing.assert_array_equal(np.concatenate([array.ravel() for _, array in params.items()]), params.flat)
    assert params.flat.max() == 0


def test_copies_are_their_own():
    params = ei.init_params(ei.ModelConfig(**SMALL))
    before = params.flat.copy()
    copies = [params.copy(), params.astype("float64"), params.astype("float32")]
    assert [c.dtype.name for c in copies] == ["float32", "float64", "float32"]
    for c in copies:
        np.testing.assert_array_equal(c.flat, before)
        c.w_rec[...] = 9
        assert (c.flat == 9).sum() == 49
    for array in params.state_dict().values():
        array[...] = 9
    np.testing.assert_array_equal(params.flat, before)


def test_flat_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"flat must have shape \(101,\), found \(100,\)"):
        Params.like(ei.ModelConfig(**SMALL), flat=np.zeros(100))


# --- state_dict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("train_x0", [False, True])
def test_state_dict_goes_round(dtype, train_x0):
    params = ei.init_params(ei.ModelConfig(**SMALL, train_x0=train_x0), 5, dtype)
    for state_dict in (
        params.state_dict(),
        {k: np.asfortranarray(v) for k, v in params.state_dict().items()},
        {k: v.tolist() for k, v in params.state_dict().items()},
        {k: torch.from_numpy(v) for k, v in params.state_dict().items()},
    ):
        found = ei.Params.from_state_dict(state_dict)
        assert found.shapes == params.shapes
        np.testing.assert_array_equal(found.flat, params.flat)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fc.bias", None, r"missing keys \['fc.bias'\]"),
        ("rnn.h2h.mask", np.ones((7, 7)), r"its mask rnn.h2h.mask is not that of 5 excitatory units of 7"),
        ("rnn.h2h.mask", np.ones((7, 6)), r"rnn.h2h.mask must have shape \(7, 7\), found \(7, 6\)"),
        ("rnn.alpha", np.float64(0.2), r"unknown keys \['rnn.alpha'\]"),
        ("fc.weight", np.zeros((4, 8)), "fc.weight must read at most the 7 units that there are, found 8"),
        ("rnn.h2h.weight", np.zeros((7, 6)), r"rnn.h2h.weight must have shape \(7, 7\), found \(7, 6\)"),
        ("rnn.h2h.bias", np.zeros((7, 1)), r"rnn.h2h.bias must have shape \(7,\), found \(7, 1\)"),
        ("fc.bias", np.zeros(3), r"fc.bias must have shape \(4,\), found \(3,\)"),
        ("rnn.input2h.weight", np.zeros(14), "rnn.input2h.weight and fc.weight must be matrices"),
        ("fc.weight", np.float64(1), "rnn.input2h.weight and fc.weight must be matrices"),
        ("rnn.x0", np.zeros(8), r"rnn.x0 must have shape \(7,\), found \(8,\)"),
        ("fc.weight", np.full((4, 5), np.nan), r"fc.weight must be finite, found nan at \(0, 0\)"),
        ("rnn.input2h.bias", np.full(7, np.inf), "rnn.input2h.bias must be finite, found inf"),
        ("rnn.input2h.bias", np.zeros(7, complex), "float32 or float64"),
        ("rnn.input2h.bias", np.array(["a"] * 7), "float32 or float64"),
    ],
)
def test_state_dict_that_does_not_fit_is_refused(key, value, message):
    state_dict = ei.init_params(ei.ModelConfig(**SMALL)).state_dict()
    state_dict[key] = value
    if value is None:
        del state_dict[key]
    with pytest.raises(ValueError, match=message):
        ei.Params.from_state_dict(state_dict)


TENSORS = {
    "requires grad": lambda t: t.clone().requires_grad_(),
    "parameters": torch.nn.Parameter,
    "transposed": lambda t: t.mT.contiguous().mT if t.ndim == 2 else t,
    "float64": torch.Tensor.double,
    "bfloat16": torch.Tensor.bfloat16,
    "float16": torch.Tensor.half,
    "float8": lambda t: t.to(torch.float8_e5m2),
    "sparse": torch.Tensor.to_sparse,
}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module.", "net."]
)
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_every_kind_load(kind, prefix):
    params = ei.init_params(ei.ModelConfig(**SMALL), 5)
    tensors = {key: TENSORS[kind](torch.from_numpy(value)) for key, value in params.state_dict().items()}
    dense = [t.to_dense() if t.is_sparse else t for t in tensors.values()]
    found = ei.Params.from_state_dict({prefix + key: tensor for key, tensor in tensors.items()})
    expected = np.concatenate([t.detach().to(torch.float64).numpy().ravel() for t in dense])
    np.testing.assert_array_equal(found.flat, expected)
    assert found.dtype == ("float64" if kind == "float64" else "float32")
    np.testing.assert_allclose(found.flat, params.flat, rtol=0.13 if kind == "float8" else 2**-8, atol=1e-5)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.nn.Linear(2, 3), "must be a mapping of names to arrays, found Linear: pass model.state_dict()"),
        ([1, 2], "must be a mapping of names to arrays, found list"),
        (None, "found NoneType"),
        ({"fc.bias": torch.zeros(4, device="meta")}, "fc.bias is no array of numbers"),
        ({"fc.bias": np.zeros(4), "module.fc.bias": np.zeros(4)}, "some keys are the same but for their prefix"),
        ({"fc.bias": object()}, "missing keys"),
    ],
)
def test_what_is_no_state_dict_is_refused(found, message):
    for read in (ei.Params.from_state_dict, ei.from_state_dict):
        with pytest.raises(ValueError, match=re.escape(message)):
            read(found)


def test_tensors_of_the_original_with_another_share_of_excitatory_units_are_warned_of():
    """Its recurrent layer takes 0.8 of the units, whatever e_prop: the shapes say another network."""
    half = ei.init_params(ei.ModelConfig(n_hidden=50, e_ratio=0.5)).state_dict()
    tensors = {key: torch.from_numpy(value) for key, value in half.items()}
    with pytest.warns(UserWarning, match="reads 25 of 50 units, .* takes 40 as excitatory"):
        ei.Params.from_state_dict(tensors)
    ei.Params.from_state_dict(half)  # our own: its signs are those of the shapes
    mask = torch.from_numpy(ei.sign_mask(ei.ModelConfig(n_hidden=50, e_ratio=0.5)).copy())
    ei.Params.from_state_dict({**tensors, "rnn.h2h.mask": mask})


def test_the_mask_of_a_state_dict_is_that_of_the_network():
    """The original's recurrent layer takes 0.8 of the units as excitatory, whatever e_prop the read-out has."""
    E, H = 25, 50
    params = ei.init_params(ei.ModelConfig(n_hidden=H, n_exc=E), 3, "float64")
    original = ei.sign_mask(ei.ModelConfig(n_hidden=H, e_ratio=0.8))
    state_dict = params.state_dict()
    with pytest.raises(ValueError, match="fc.weight reads 25 of 50 units, but the original's recurrent layer takes 40"):
        ei.from_state_dict(state_dict)
    config, found = ei.from_state_dict({**state_dict, "rnn.h2h.mask": torch.from_numpy(original)}, sigma_rec=0.0)
    np.testing.assert_array_equal(found.flat, params.flat)
    assert (config.n_exc, config.sigma_rec) == (E, 0.0)
    assert config == ei.from_state_dict(state_dict, mask=original, sigma_rec=0.0)[0]
    rng = np.random.default_rng(0)
    inputs, x, r = rng.normal(size=(6, 3, 3)), np.zeros((3, H)), np.zeros((3, H))
    weights = np.abs(state_dict["rnn.h2h.weight"]) * original
    for u in inputs:  # the original, by its own equations
        current = u @ state_dict["rnn.input2h.weight"].T + state_dict["rnn.input2h.bias"]
        x = 0.8 * x + 0.2 * (current + r @ weights.T + state_dict["rnn.h2h.bias"])
        r = np.maximum(x, 0)
    expected = r[:, :E] @ state_dict["fc.weight"].T + state_dict["fc.bias"]
    for backend in ("numba", "numpy"):
        outputs = ei.forward(config, found, inputs, backend=backend).outputs[-1]
        np.testing.assert_allclose(outputs, expected, rtol=1e-10)
    by_number = ei.forward(ei.from_state_dict(state_dict, n_exc=E)[0], found, inputs).outputs[-1]
    assert np.abs(by_number - expected).max() > 0.001  # another network


@pytest.mark.parametrize("train_x0", [False, True])
def test_a_state_dict_makes_its_configuration(train_x0):
    config = ei.ModelConfig(**SMALL, train_x0=train_x0, tau=80.0)
    params = ei.init_params(config, 1)
    found = ei.from_state_dict(params.state_dict(), tau=80.0)
    assert found[0] == config
    np.testing.assert_array_equal(found[1].flat, params.flat)
    with_mask = {**params.state_dict(), "rnn.h2h.mask": ei.sign_mask(config)}
    assert ei.from_state_dict(with_mask, tau=80.0)[0] == config
    np.testing.assert_array_equal(ei.Params.from_state_dict(with_mask).flat, params.flat)
    for options, message in (({"n_hidden": 8}, "n_hidden must be 7"), ({"n_exc": 6}, "n_exc must be 5"),
                             ({"train_x0": not train_x0}, "train_x0 must be"), ({"dt": -1}, "dt must be")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            ei.from_state_dict(params.state_dict(), **options)
    with pytest.raises(ValueError, match="mask must be rnn.h2h.mask of the state_dict, found another"):
        ei.from_state_dict(with_mask, mask=np.ones((7, 7)))


# --- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    {
        **{name: [0, -1, 2.0, 7.5, True, "7", None, 2**24] for name in ("n_in", "n_hidden", "n_out")},
        "dt": [0, -20, 100.1, np.nan, np.inf, "20", None],
        "tau": [0, -1, 19.9, np.nan, np.inf, "100", None, [100.0] * 6, [100.0] * 8, [], [100.0] * 6 + [np.nan],
                [100.0] * 6 + [19.0], [[100.0]] * 7],
        "e_ratio": [0, 1, 1.5, -0.1, np.nan, np.inf, "0.8", None, 0.1],  # int(0.1 * 7) leaves no excitatory unit
        "sigma_rec": [-1e-9, np.nan, np.inf, "0.15", None],
        "dynamics": ["Song2016", "", None, 0],
        "loss": ["mse", "", None, 1],
        "train_x0": [1, "yes", None],
        "mask": [np.ones((6, 7)), np.ones(7), np.full((7, 7), np.nan), np.ones((7, 7), complex), [[1], [2, 3]], "x"],
    }.items(),
)  # fmt: skip
def test_bad_configuration_names_the_argument(name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"\b{name}\b"):
            ei.ModelConfig(**{**SMALL, name: value})


@pytest.mark.parametrize("tau", [np.full((7, 1), 100.0), [[100.0], [100.0, 100.0]]], ids=["column", "ragged"])
def test_tau_of_a_wrong_shape_names_tau(tau):
    with pytest.raises(ValueError, match=r"\btau\b"):
        ei.ModelConfig(**SMALL, tau=tau)


def test_configuration_takes_numpy_numbers_and_a_tau_for_each_unit():
    tau = np.linspace(20, 140, 7)
    config = ei.ModelConfig(n_in=np.int64(2), n_hidden=np.int32(7), n_out=4, tau=tau, dt=np.float32(20))
    assert config == ei.ModelConfig(**SMALL, tau=tuple(tau), dt=20)
    assert (config.n_exc, config.alpha[0]) == (5, 1.0)
    np.testing.assert_allclose(config.alpha, 20 / tau)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_configurations_that_differ_are_not_equal():
    config = ei.ModelConfig(**SMALL)
    others = (
        {"n_in": 3},
        {"tau": 99},
        {"dynamics": "brainpy"},
        {"train_x0": True},
        {"mask": np.ones((7, 7))},
    )
    for change in others:
        assert config != ei.ModelConfig(**{**SMALL, **change})
    assert config == ei.ModelConfig(**SMALL, mask=ei.sign_mask(config))


def test_sign_mask_and_effective_weights():
    config = ei.ModelConfig(**SMALL)
    params = ei.init_params(config)
    params.w_rec[...] = np.arange(-24, 25).reshape(7, 7)
    expected = [[0 if i == j else abs(7 * i + j - 24) * (1 if j < 5 else -1) for j in range(7)] for i in range(7)]
    np.testing.assert_array_equal(ei.effective_weights(config, params), expected)
    np.testing.assert_array_equal(ei.sign_mask(ei.ModelConfig(**SMALL, dynamics="brainpy")), ei.sign_mask(config).T)


@pytest.mark.parametrize("dict_", [{"hidden": 3}, {"mask": None}, [], "config", 3])
def test_unknown_fields_are_refused(dict_):
    with pytest.raises(ValueError, match="model configuration"):
        ModelConfig.from_dict(dict_)


# --- files -----------------------------------------------------------------------------------------

NETWORKS = {
    "plain": {},
    "own mask": {"mask": np.random.default_rng(0).normal(size=(7, 7))},
    "trained start": {"train_x0": True},
    "a tau for each unit": {"tau": np.linspace(33.3, 140, 7)},
    "brainpy": {"dynamics": "brainpy", "loss": "squared_error", "sigma_rec": 0.0, "e_ratio": 1 / 3},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_files_go_round(tmp_path, network, dtype):
    problem = make_problem(dtype=dtype, **NETWORKS[network])
    path = tmp_path / "p.safetensors"
    ei.save_params(path, problem.config, problem.params)
    config, params = ei.load_params(path)
    assert config == problem.config
    assert config.to_dict() == problem.config.to_dict()
    np.testing.assert_array_equal(ei.sign_mask(config), ei.sign_mask(problem.config))
    assert (params.dtype, params.shapes) == (problem.params.dtype, problem.params.shapes)
    np.testing.assert_array_equal(params.flat, problem.params.flat)
    again = tmp_path / "again.safetensors"
    ei.save_params(str(again), config, params)
    assert again.read_bytes() == path.read_bytes()  # same content, same bytes
    assert sorted(tmp_path.iterdir()) == [again, path]


def test_files_hold_the_keys_of_the_original(problem, tmp_path):
    ei.save_params(tmp_path / "p.safetensors", problem.config, problem.params)
    tensors, _ = load_tensors(tmp_path / "p.safetensors")
    assert set(tensors) == set(problem.params.state_dict())
    assert set(tensors) == {"rnn.input2h.weight", "rnn.input2h.bias", "rnn.h2h.weight", "rnn.h2h.bias",
                            "fc.weight", "fc.bias"}  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    config = ei.ModelConfig(**SMALL)
    path = tmp_path / "saved.safetensors"
    ei.save_params(path, config, ei.init_params(config))
    return path


def assert_refused(path):
    with pytest.raises(ValueError) as caught:
        ei.load_params(path)
    assert path.name in str(caught.value)


def test_truncated_files_are_refused(saved):
    content = saved.read_bytes()
    for length in [*range(0, 40), *range(40, len(content), 13), len(content) - 1]:
        saved.write_bytes(content[:length])
        assert_refused(saved)
    saved.write_bytes(content + b"\0")
    assert_refused(saved)


def test_a_damaged_header_never_gets_through_as_something_else(saved):
    """One bit of each byte of the header in turn: the file is refused by name, or its shapes are what they were."""
    content = saved.read_bytes()
    config, params = ei.load_params(saved)
    header = 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for i in range(header):
        saved.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        try:
            found_config, found = ei.load_params(saved)
        except ValueError as error:
            refused += saved.name in str(error)
        else:
            assert found.shapes == params.shapes
            assert found_config.n_hidden == config.n_hidden
    assert refused > 0.9 * header  # a number in the configuration, such as dt, may turn into another valid one


def config_dict(**changes):
    return {"config": {**ei.ModelConfig(**SMALL).to_dict(), **changes}}


FOREIGN = {
    "no metadata": {"metadata": None},
    "metadata is a list": {"metadata": ["config"]},
    "metadata is a number": {"metadata": 3},
    "no configuration": {"metadata": {"model": {}}},
    "configuration is text": {"metadata": {"config": "n_hidden"}},
    "unknown field": {"metadata": config_dict(hidden=7)},
    "field of a wrong type": {"metadata": config_dict(n_hidden="7")},
    "impossible field": {"metadata": config_dict(e_ratio=1.5)},
    "another size": {"metadata": config_dict(n_hidden=8)},
    "another number of excitatory units": {"metadata": config_dict(e_ratio=0.5)},
    "a size beyond all memory": {"metadata": config_dict(n_hidden=2**24 - 1)},
    "trained start without its tensor": {"metadata": config_dict(train_x0=True)},
    "a tensor too many": {"tensors": {"extra": np.zeros(3)}},
    "tensor of a wrong shape": {"tensors": {"fc.bias": np.zeros(5)}},
    "tensor of integers": {"tensors": {"fc.bias": np.zeros(4, np.int64)}, "keep": False},
    "tensor of NaN": {"tensors": {"fc.bias": np.full(4, np.nan)}},
    "mask of a wrong shape": {"tensors": {"mask": np.ones((6, 6))}},
    "mask of NaN": {"tensors": {"mask": np.full((7, 7), np.nan)}},
    "nothing of ours": {"tensors": {"weight": np.ones((2, 2))}, "keep": False},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_files_whose_parts_do_not_fit_are_refused(tmp_path, case):
    change = FOREIGN[case]
    tensors = ei.init_params(ei.ModelConfig(**SMALL)).state_dict() if change.get("keep", True) else {}
    path = tmp_path / "foreign.safetensors"
    save_tensors(path, {**tensors, **change.get("tensors", {})}, change.get("metadata", config_dict()))
    assert_refused(path)


def test_files_of_other_programs_are_refused(tmp_path):
    tensors = ei.init_params(ei.ModelConfig(**SMALL)).state_dict()
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}, {"eirnn_np": "{"}, {"eirnn_np": "[" * 100_000}):
        save_file(tensors, path, metadata)
        assert_refused(path)
    torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, path)
    assert_refused(path)
    np.savez(tmp_path / "other.npz", **tensors)
    assert_refused(tmp_path / "other.npz")
    (tmp_path / "text").write_text("config = {}\n")
    assert_refused(tmp_path / "text")


def test_a_file_that_is_not_there_is_the_usual_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        ei.load_params(tmp_path / "none.safetensors")
    with pytest.raises(IsADirectoryError):
        ei.load_params(tmp_path)


def test_params_of_another_network_are_not_written(saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="params do not fit config"):
        ei.save_params(saved, ei.ModelConfig(), ei.init_params(ei.ModelConfig(**SMALL)))
    assert saved.read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_file(path, "old")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", no_space)
        with pytest.raises(OSError, match="No space left"):
            write_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_file(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "precious").write_text("x")
    with pytest.raises(OSError, match="folder"):
        write_file(path, "new")
    assert (path / "precious").read_text() == "x"
    assert list(tmp_path.iterdir()) == [path]
