"""What a network is: its configuration, its parameters, how they start, and their files.

Imports numpy and safetensors, and noise.py for the generator. Knows nothing of training. Loading a
file never executes anything: safetensors and JSON only.
Shapes: I inputs, H units, E excitatory units, O outputs; weights are [to, from].
"""

import contextlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from .noise import INIT_STREAM, MASK_STREAM, uniforms

DYNAMICS = ("song2016", "brainpy")
LOSSES = ("cross_entropy", "squared_error")

# Our attribute -> key in the state_dict of the PyTorch original (gyyang/nn-brain, EI_RNN.ipynb).
STATE_DICT_KEYS = {
    "w_in": "rnn.input2h.weight",
    "b_in": "rnn.input2h.bias",
    "w_rec": "rnn.h2h.weight",
    "b_rec": "rnn.h2h.bias",
    "w_out": "fc.weight",
    "b_out": "fc.bias",
    "x0": "rnn.x0",  # only in networks with a trained initial state; the original has none
}
_METADATA_KEY = "eirnn_np"
MASK_KEY = "mask"


@dataclass(frozen=True, eq=False)
class ModelConfig:
    """Everything that fixes the equations of a network: (F1)-(F5) of docs/derivation.md, Song et al. (2016).

    Parameters
    ----------
    n_in, n_hidden, n_out : int
        I inputs, H recurrent units, O outputs; all at least 1.
    dt : float
        Time step, ms.
    tau : float or sequence of H floats
        Time constant of the units, ms; ``alpha = dt / tau`` must lie in (0, 1].
    e_ratio : float
        Share of excitatory units, in (0, 1): ``E = int(e_ratio * H)`` must be at least 1.
    sigma_rec : float
        Standard deviation of the recurrent noise before its scaling by ``sqrt(2 alpha)``.
    dynamics : {"song2016", "brainpy"}
        The paper's equations, or the BrainPy tutorial's variant of them (docs/derivation.md, section 7).
    loss : {"cross_entropy", "squared_error"}
        On int labels (T, B), or on real targets (T, B, O).
    train_x0 : bool
        Make the initial state x_0 a trained vector (H,) instead of 0.
    mask : (H, H) array of float, optional
        M of eq. (F1), ``[to, from]``: any real matrix. By default `sign_mask`: +1 for excitatory, -1 for
        inhibitory columns, 0 on the diagonal.

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """

    n_in: int = 3
    n_hidden: int = 50
    n_out: int = 3
    dt: float = 20.0
    tau: float | tuple = 100.0
    e_ratio: float = 0.8
    sigma_rec: float = 0.15
    dynamics: str = "song2016"
    loss: str = "cross_entropy"
    train_x0: bool = False
    mask: np.ndarray | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen)
        for name in ("n_in", "n_hidden", "n_out"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**24:
                raise ValueError(f"{name} must be a positive integer, found {value!r}")
            put(name, int(value))
        for name in ("dt", "e_ratio", "sigma_rec"):
            put(name, finite_float(name, getattr(self, name)))
        if not 0 < self.e_ratio < 1:
            raise ValueError(f"e_ratio must lie between 0 and 1 (both excluded), found {self.e_ratio!r}")
        if self.n_exc < 1:
            raise ValueError(
                f"e_ratio * n_hidden must leave at least one excitatory unit, found int({self.e_ratio} * "
                f"{self.n_hidden}) = 0"
            )
        if self.sigma_rec < 0:
            raise ValueError(f"sigma_rec must be 0 or more, found {self.sigma_rec!r}")
        if isinstance(self.tau, list | tuple) or (isinstance(self.tau, np.ndarray) and self.tau.ndim):
            put("tau", tuple(real_array("tau", self.tau, (self.n_hidden,), np.float64).tolist()))
        else:
            put("tau", finite_float("tau", self.tau))
        if self.dt <= 0 or np.min(self.tau) < self.dt:
            raise ValueError(f"dt must be above 0 and at most tau, found dt {self.dt} ms, tau {np.min(self.tau)} ms")
        for name, allowed in (("dynamics", DYNAMICS), ("loss", LOSSES)):
            check_choice(name, getattr(self, name), allowed)
        if not isinstance(self.train_x0, bool | np.bool_):
            raise ValueError(f"train_x0 must be True or False, found {self.train_x0!r}")
        if self.mask is not None:
            mask = real_array("mask", self.mask, (self.n_hidden, self.n_hidden)).astype(np.float64)
            mask.flags.writeable = False
            put("mask", mask)

    @property
    def n_exc(self) -> int:
        """E, the number of excitatory units: they come first."""
        return int(self.e_ratio * self.n_hidden)

    @property
    def alpha(self) -> np.ndarray:
        """dt / tau for each unit, (H,) float64."""
        return np.full(self.n_hidden, self.dt) / np.asarray(self.tau)

    @property
    def noise_scale(self) -> np.ndarray:
        """sqrt(2 alpha) sigma_rec for each unit, (H,) float64."""
        return np.sqrt(2 * self.alpha) * self.sigma_rec

    def to_dict(self) -> dict:
        """Plain values for JSON; the mask, which can be large, is not among them."""
        d = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mask"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}

    @classmethod
    def from_dict(cls, d, mask=None) -> "ModelConfig":
        known = {f.name for f in fields(cls)} - {"mask"}
        if not isinstance(d, dict) or not set(d) <= known:
            found = sorted(set(d) - known) if isinstance(d, dict) else type(d).__name__
            raise ValueError(f"model configuration: expected the fields {sorted(known)}, found {found}")
        return cls(**d, mask=mask)

    def __eq__(self, other):
        if not isinstance(other, ModelConfig):
            return NotImplemented
        return self.to_dict() == other.to_dict() and np.array_equal(sign_mask(self), sign_mask(other))

    __hash__ = None  # type: ignore[assignment]


def sign_mask(config: ModelConfig) -> np.ndarray:
    """M of eq. (F1), (H, H) float64: the configuration's own mask, or else signs by cell type.

    In "song2016" the sign goes with the column, the presynaptic unit (Dale's principle); in "brainpy"
    with the row, as in that tutorial. The diagonal is 0.
    """
    if config.mask is not None:
        return config.mask
    signs = np.where(np.arange(config.n_hidden) < config.n_exc, 1.0, -1.0)
    mask = np.tile(signs, (config.n_hidden, 1))
    if config.dynamics == "brainpy":
        mask = mask.T.copy()
    np.fill_diagonal(mask, 0.0)
    return mask


def sparse_mask(config: ModelConfig, p: float, seed: int = 0) -> np.ndarray:
    """`sign_mask` in which each connection is kept with probability `p`, by a draw of its own; (H, H).

    Raises ValueError for p outside [0, 1].
    """
    if not 0 <= finite_float("p", p) <= 1:
        raise ValueError(f"p must lie between 0 and 1, found {p!r}")
    H = config.n_hidden
    return sign_mask(config) * (uniforms(seed, MASK_STREAM, H * H).reshape(H, H) < p)


def block_mask(config: ModelConfig, areas: np.ndarray, connections: np.ndarray) -> np.ndarray:
    """`sign_mask` scaled block by block, for networks of several areas; (H, H).

    Parameters
    ----------
    areas : (H,) integers
        The area 0 .. A-1 of each unit. The first E units are the excitatory ones, whatever their area.
    connections : (A, A) array
        Factor for each pair of areas, ``[to, from]``; 0 for no connection.

    Raises
    ------
    ValueError
        If the shapes or the numbers of the areas do not fit.
    """
    areas = real_array("areas", areas, (config.n_hidden,))
    connections = real_array("connections", connections, (None, None), np.float64)
    n = connections.shape[0]
    if connections.shape != (n, n):
        raise ValueError(f"connections must be square, found {connections.shape}")
    if areas.dtype.kind not in "iu" or areas.min() < 0 or areas.max() >= n:
        raise ValueError(f"areas must be integers in 0 .. {n - 1}, found {areas.min()} .. {areas.max()}")
    return sign_mask(config) * connections[np.ix_(areas, areas)]


class Params:
    """The trained numbers of one network: named arrays that are views on one flat buffer.

    Attributes
    ----------
    flat : (n,) array
        All parameters in the order below; what the optimiser works on.
    w_in, b_in, w_rec, b_rec, w_out, b_out, x0 : arrays
        (H, I), (H,), (H, H), (H,), (O, E), (O,), and (H,) or None. ``w_rec`` is the raw theta: its
        absolute value and the mask are taken in use (F1).
    """

    flat: np.ndarray
    w_in: np.ndarray
    b_in: np.ndarray
    w_rec: np.ndarray
    b_rec: np.ndarray
    w_out: np.ndarray
    b_out: np.ndarray
    x0: np.ndarray | None

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_exc: int,
        dtype: DTypeLike = "float32",
        with_x0: bool = False,
        flat: np.ndarray | None = None,
    ) -> None:
        shapes = _shapes(n_in, n_hidden, n_out, n_exc, with_x0)
        size = sum(math.prod(shape) for shape in shapes.values())
        if flat is None:
            flat = np.zeros(size, check_dtype(dtype))
        elif flat.shape != (size,):
            raise ValueError(f"flat must have shape ({size},), found {flat.shape}")
        self.flat, self.shapes, self.x0 = flat, shapes, None
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            setattr(self, name, flat[start:stop].reshape(shape))
            start = stop

    @classmethod
    def like(cls, config: ModelConfig, dtype: DTypeLike = "float32", flat: np.ndarray | None = None) -> "Params":
        """Zeros of the shapes that `config` asks for, or views on a given flat buffer."""
        return cls(config.n_in, config.n_hidden, config.n_out, config.n_exc, dtype, config.train_x0, flat)

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    def items(self) -> list[tuple[str, np.ndarray]]:
        """Pairs (name, array), in the order of the flat buffer."""
        return [(name, getattr(self, name)) for name in self.shapes]

    def copy(self) -> "Params":
        return self.astype(self.dtype)

    def astype(self, dtype: DTypeLike) -> "Params":
        H, I = self.w_in.shape
        O, E = self.w_out.shape
        return Params(I, H, O, E, with_x0=self.x0 is not None, flat=self.flat.astype(check_dtype(dtype)))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays under the PyTorch original's keys."""
        return {STATE_DICT_KEYS[name]: array.copy() for name, array in self.items()}

    @classmethod
    def from_state_dict(cls, d: Mapping[str, np.ndarray]) -> "Params":
        """Read arrays (or tensors) under the PyTorch original's keys; sizes come from the shapes.

        Raises ValueError for a key that is missing or unknown, and for shapes that do not fit.
        """
        missing = [k for name, k in STATE_DICT_KEYS.items() if k not in d and name != "x0"]
        unknown = sorted(set(d) - set(STATE_DICT_KEYS.values()))
        if missing or unknown:
            raise ValueError(f"state_dict: missing keys {missing}, unknown keys {unknown}")
        arrays = {name: np.asarray(d[k]) for name, k in STATE_DICT_KEYS.items() if k in d}
        if arrays["w_in"].ndim != 2 or arrays["w_out"].ndim != 2:
            raise ValueError("state_dict: rnn.input2h.weight and fc.weight must be matrices")
        (H, I), (O, E) = arrays["w_in"].shape, arrays["w_out"].shape
        dtype = check_dtype(np.result_type(*arrays.values()))
        params = cls(I, H, O, E, dtype, with_x0="x0" in arrays)
        for name, view in params.items():
            view[...] = real_array(STATE_DICT_KEYS[name], arrays[name], view.shape)
        return params

    def __repr__(self):
        return f"Params({', '.join(f'{n} {a.shape}' for n, a in self.items())}, {self.dtype})"


def init_params(config: ModelConfig, seed: int = 0, dtype: DTypeLike = "float32") -> Params:
    """Starting parameters, distributed as the original's; a pure function of (config, seed, dtype).

    Weights and biases are uniform on (-k, k), k = 1 / sqrt(fan_in); then the part of w_rec that
    belongs to excitatory units is divided by E / (H - E), so that excitation and inhibition balance
    (EI_RNN.ipynb, EIRecLinear.reset_parameters). With dynamics="brainpy" weights have
    k = sqrt(3 / fan_in), b_in is 0, and the division falls on the rows, as in that tutorial.
    The numbers come from Philox (noise.py), so they are the same on every machine. x0 starts at 0, with
    dynamics="brainpy" at 0.1: there relu'(0) = 0 is in its only path to the loss and would hold it at 0.
    """
    H, I, E = config.n_hidden, config.n_in, config.n_exc
    brainpy = config.dynamics == "brainpy"
    params = Params.like(config, dtype)
    fan_in = {"w_in": I, "b_in": I, "w_rec": H, "b_rec": H, "w_out": E, "b_out": E}
    draws = Params.like(config, "float64", flat=uniforms(seed, INIT_STREAM, params.flat.size))
    for name, fan in fan_in.items():
        k = np.sqrt((3.0 if brainpy and name.startswith("w") else 1.0) / fan)
        getattr(params, name)[...] = k * (2 * getattr(draws, name) - 1)
    excitatory = params.w_rec[:E] if brainpy else params.w_rec[:, :E]
    excitatory /= E / (H - E)
    if brainpy:
        params.b_in[...] = 0
        if params.x0 is not None:
            params.x0[...] = 0.1
    return params


def effective_weights(config: ModelConfig, params: Params) -> np.ndarray:
    """W_rec = |theta_rec| * M, (H, H) [to, from], in the dtype of the parameters. (F1)"""
    check_params(config, params)
    return np.abs(params.w_rec) * sign_mask(config).astype(params.dtype)


def save_params(path: str | os.PathLike, config: ModelConfig, params: Params) -> None:
    """Write parameters and configuration to one safetensors file, by way of a temporary name."""
    check_params(config, params)
    tensors = params.state_dict()
    if config.mask is not None:
        tensors[MASK_KEY] = config.mask
    save_tensors(path, tensors, {"config": config.to_dict()})


def load_params(path: str | os.PathLike) -> tuple[ModelConfig, Params]:
    """Read (config, params) from a file that `save_params` wrote.

    Raises ValueError if it is not such a file or its parts do not fit, OSError if it cannot be read.
    """
    tensors, metadata = load_tensors(path)
    if not isinstance(metadata, dict) or "config" not in metadata:
        raise ValueError(f"{path}: not a parameter file of eirnn-np (it holds no configuration)")
    try:
        config = ModelConfig.from_dict(metadata["config"], mask=tensors.pop(MASK_KEY, None))
        params = Params.from_state_dict(tensors)
        check_params(config, params)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return config, params


def save_tensors(path, tensors, metadata, previous=None):
    """Write {name: array} and JSON-able metadata as safetensors: same content, same bytes. See write_file."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    # One metadata key only: safetensors keeps several in no fixed order.
    write_file(path, save(contiguous, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)}), previous)


def load_tensors(path):
    """Read ({name: array}, metadata) from a safetensors file; metadata is None if it is not ours."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe, for one, would be waited for
        raise ValueError(f"{path}: not a file")
    with path.open("rb"):  # a missing or unreadable file as the usual OSError
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata and json.loads(metadata)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None


def write_file(path, content, previous=None):
    """Write bytes or text under a temporary name, sync, and rename: the old file or the new, whole.

    With `previous`, another path in the same folder, the old file is renamed to that first.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder):
    """Make the renames in a folder last through a power failure, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- checks shared by the public functions ---------------------------------------------------------


def check_choice(name, value, allowed):
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {value!r}")


def check_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64 as a dtype; ValueError for anything else."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, found {dtype!r}")
    return found


def _shapes(n_in, n_hidden, n_out, n_exc, with_x0):
    """The shapes of the parameters by name, in the order of the flat buffer."""
    I, H, O, E = n_in, n_hidden, n_out, n_exc
    shapes = {"w_in": (H, I), "b_in": (H,), "w_rec": (H, H), "b_rec": (H,), "w_out": (O, E), "b_out": (O,)}
    return shapes | {"x0": (H,)} if with_x0 else shapes


def check_params(config, params):
    """ValueError unless `params` has the shapes that `config` asks for."""
    expected = _shapes(config.n_in, config.n_hidden, config.n_out, config.n_exc, config.train_x0)
    if params.shapes != expected:
        wrong = sorted(set(params.shapes.items()) ^ set(expected.items()))
        raise ValueError(f"params do not fit config: {', '.join(f'{n} {s}' for n, s in wrong)}")


def real_array(name, value, shape, dtype=None):
    """`value` as an array of real finite numbers of `shape` (None stands for any size), or ValueError."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # ragged lists, objects that refuse
        raise ValueError(f"{name} must be an array of shape {_shape_text(shape)}: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}")
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        raise ValueError(f"{name} must have shape {_shape_text(shape)}, found {array.shape}")
    if dtype is not None:
        with np.errstate(over="ignore"):
            array = array.astype(dtype, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, found {array[bad]} at {bad}")
    return array


def _shape_text(shape):
    return "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def finite_float(name, value):
    """`value` as a float; ValueError that names it for what is no real number, or not finite."""
    try:
        if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(value):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, found {value!r}") from None
    if not np.isfinite(number):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    return number
