"""The trained numbers of a network: one buffer with named views, how they start, their files and state_dicts.

Shapes: I inputs, H units, E excitatory units, R units that are read out (E, or H), O outputs; weights are [to, from].
"""

import errno
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from .checks import check_array, check_choice, check_dtype, check_float
from .config import EFFECTIVE_MASKS, MASKS, ModelConfig, sign_mask
from .files import load_tensors, save_tensors
from .functions import CONSTRAINTS
from .noise import INIT_STREAM, uniforms

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
OTHER_KEYS = {  # of torch.nn.RNN
    "weight_ih_l0": "rnn.input2h.weight",
    "bias_ih_l0": "rnn.input2h.bias",
    "weight_hh_l0": "rnn.h2h.weight",
    "bias_hh_l0": "rnn.h2h.bias",
}
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module")  # of DataParallel, torch.compile, FSDP
MASK_KEYS = ("rnn.h2h.mask",)  # where a copy of the original has registered its mask as a buffer


def _parameter(name: str) -> property:
    """A parameter of Params by its name: reading gives the view on the flat buffer, assigning writes into it."""

    def read(self) -> np.ndarray:
        return self._views[name]

    def write(self, value) -> None:
        _write_into(self._views[name], name, value)

    return property(read, write)


def _write_into(view, name, value):
    """Copy an array of the view's shape, or one number, into it."""
    one = isinstance(value, int | float | np.number)
    view[...] = check_float(name, value) if one else check_array(name, value, view.shape)


class Params:
    """The trained numbers of one network: named arrays that are views on one flat buffer.

    There is one truth for each number. ``params.w_out = array`` copies into the view; copies, deep copies and pickles
    have a buffer of their own, and their arrays are views on it.

    Attributes
    ----------
    flat : (n,) array
        All parameters in the order below; what the optimiser works on.
    w_in, b_in, w_rec, b_rec, w_out, b_out, x0 : arrays
        (H, I), (H,), (H, H), (H,), (O, R), (O,), and (H,) or None. The weights are the raw theta: constraint and mask
        are applied in use (F1).
    shapes : mapping
        Name to shape, in the order of the buffer.

    Raises
    ------
    ValueError
        A buffer of another size or dtype than is asked for; an assigned array of another shape.
    """

    __slots__ = ("__weakref__", "_flat", "_views", "shapes")

    w_in, b_in, w_rec, b_rec = (_parameter(name) for name in ("w_in", "b_in", "w_rec", "b_rec"))
    w_out, b_out = _parameter("w_out"), _parameter("b_out")

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_read: int,
        dtype: DTypeLike = "float32",
        with_x0: bool = False,
        flat: np.ndarray | None = None,
    ) -> None:
        shapes = parameter_shapes(n_in, n_hidden, n_out, n_read, with_x0)
        size = sum(math.prod(shape) for shape in shapes.values())
        if flat is None:
            flat = np.zeros(size, check_dtype(dtype))
        elif not isinstance(flat, np.ndarray) or flat.shape != (size,):
            raise ValueError(f"flat must have shape ({size},), found {np.shape(flat)}")
        check_dtype(flat.dtype)
        self._flat, self._views, self.shapes = flat, {}, MappingProxyType(shapes)
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = flat[start:stop].reshape(shape)
            start = stop

    @property
    def flat(self) -> np.ndarray:
        return self._flat

    @flat.setter
    def flat(self, value) -> None:
        _write_into(self._flat, "flat", value)

    @property
    def x0(self) -> np.ndarray | None:
        return self._views.get("x0")

    @x0.setter
    def x0(self, value) -> None:
        if "x0" not in self._views:
            raise ValueError("x0 is no parameter of this network: its configuration has train_x0=False")
        _write_into(self._views["x0"], "x0", value)

    @classmethod
    def like(cls, config: ModelConfig, dtype: DTypeLike = "float32", flat: np.ndarray | None = None) -> "Params":
        """Zeros of the shapes that `config` asks for, or views on a given flat buffer."""
        return cls(config.n_in, config.n_hidden, config.n_out, config.n_read, dtype, config.train_x0, flat)

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    def items(self) -> list[tuple[str, np.ndarray]]:
        """Pairs (name, array), in the order of the flat buffer."""
        return [(name, getattr(self, name)) for name in self.shapes]

    def copy(self) -> "Params":
        return self.astype(self.dtype)

    def astype(self, dtype: DTypeLike) -> "Params":
        return Params(**self._sizes(), flat=self.flat.astype(check_dtype(dtype)))

    __copy__ = copy

    def __reduce__(self):  # for pickle and deepcopy: the sizes and the buffer, from which the views are made anew
        return _of_buffer, (self._sizes(), self.flat)

    def _sizes(self):
        (H, I), (O, R) = self.w_in.shape, self.w_out.shape
        return {"n_in": I, "n_hidden": H, "n_out": O, "n_read": R, "with_x0": self.x0 is not None}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays under the PyTorch original's keys."""
        return {STATE_DICT_KEYS[name]: array.copy() for name, array in self.items()}

    @classmethod
    def from_state_dict(cls, d: Mapping[str, np.ndarray]) -> "Params":
        """Read arrays or torch tensors under the PyTorch original's keys; sizes come from the shapes.

        Tensors may require grad, be sparse and lie on any device; half precision becomes float32; a prefix that all
        keys have, as those of DataParallel and torch.compile, is taken off. A mask (`MASK_KEYS`) is no parameter:
        `from_state_dict` of the package reads both.

        Raises ValueError for a key that is missing or unknown, for shapes that do not fit, and for a mask that is not
        the one that the shapes imply. Warns where torch tensors without a mask read another share than 0.8 of the
        units: the original network that they are from has other signs than the shapes say.
        """
        params, mask = _read_state_dict(d)
        all_read = params.w_out.shape[1] == params.w_rec.shape[0]
        if (
            mask is None
            and not all_read
            and _signs_unknown(params)
            and any(hasattr(value, "detach") for value in d.values())
        ):
            warnings.warn(
                f"{_signs_unknown(params)}: eirnn_np.from_state_dict asks for what is not known", stacklevel=2
            )
        if mask is not None:
            (H, I), (O, E) = params.w_in.shape, params.w_out.shape
            if not np.array_equal(mask, sign_mask(ModelConfig(I, H, O, exc_number=E))):
                raise ValueError(
                    f"state_dict: its mask {MASK_KEYS[0]} is not that of {E} excitatory units of {H}: read it by "
                    "config, params = eirnn_np.from_state_dict(state_dict)"
                )
        return params

    def __repr__(self):
        return f"Params({', '.join(f'{n} {a.shape}' for n, a in self.items())}, {self.dtype})"


def from_state_dict(d: Mapping[str, np.ndarray], **options) -> tuple[ModelConfig, Params]:
    """(config, params) of the network that a state_dict of the PyTorch original computes.

    Parameters
    ----------
    d : mapping
        As for `Params.from_state_dict`. Its mask, where it has one, becomes the configuration's.
    **options
        Fields of ModelConfig that no state_dict holds: dt, tau, sigma_rec and so on; `mask` and `n_exc` where they are
        to be told (see Raises).

    Raises
    ------
    ValueError
        As `Params.from_state_dict`. Also where there is no mask, and fc.weight reads another number of units than
        int(0.8 H): the original's recurrent layer always takes 0.8 H units as excitatory, whatever its e_prop, so
        that the signs are not known. Pass `n_exc` (signs as the read-out has it) or `mask`.
    """
    params, mask = _read_state_dict(d)
    (H, I), (O, R) = params.w_in.shape, params.w_out.shape
    has = {"n_in": I, "n_hidden": H, "n_out": O, "train_x0": params.x0 is not None}
    if options.get("readout") != "all":
        has["n_exc"] = R
    elif R != H:
        raise ValueError(f'state_dict: readout="all" needs an fc.weight that reads all {H} units, found {R}')
    for name, value in has.items():
        if options.get(name, value) != value:
            raise ValueError(f"{name} must be {value} as in the state_dict, found {options[name]!r}")
    if mask is not None and options.setdefault("mask", mask) is not mask and not np.array_equal(options["mask"], mask):
        raise ValueError(f"mask must be {MASK_KEYS[0]} of the state_dict, found another")
    if "n_exc" in has and "mask" not in options and "n_exc" not in options and (reason := _signs_unknown(params)):
        raise ValueError(f"{reason}: pass n_exc={R} if the signs follow the read-out, or else the mask")
    return ModelConfig(**options | has), params


def _signs_unknown(params):
    """Why the shapes do not say which units are excitatory in a network of the original; None where they do."""
    H, E = params.w_rec.shape[0], params.w_out.shape[1]
    if int(0.8 * H) == E:
        return None
    return (
        f"state_dict: fc.weight reads {E} of {H} units, but the original's recurrent layer takes {int(0.8 * H)} as "
        "excitatory whatever its e_prop"
    )


def _read_state_dict(d):
    """(params, mask or None) of a state_dict, all of it checked."""
    if not hasattr(d, "items"):
        hint = ": pass model.state_dict()" if hasattr(d, "state_dict") else ""
        raise ValueError(f"state_dict must be a mapping of names to arrays, found {type(d).__name__}{hint}")
    arrays = {str(key): _as_array(str(key), value) for key, value in d.items()}
    d = dict(zip(_plain_keys(arrays), arrays.values()))
    if len(d) < len(arrays):
        raise ValueError(f"state_dict: some keys are the same but for their prefix, found {sorted(arrays)}")
    missing = [k for name, k in STATE_DICT_KEYS.items() if k not in d and name != "x0"]
    unknown = sorted(set(d) - {*STATE_DICT_KEYS.values(), *MASK_KEYS})
    if missing or unknown:
        raise ValueError(f"state_dict: missing keys {missing}, unknown keys {unknown}{_renaming(missing, unknown)}")
    arrays = {name: d[k] for name, k in STATE_DICT_KEYS.items() if k in d}
    if arrays["w_in"].ndim != 2 or arrays["w_out"].ndim != 2:
        raise ValueError("state_dict: rnn.input2h.weight and fc.weight must be matrices")
    (H, I), (O, E) = arrays["w_in"].shape, arrays["w_out"].shape
    if E > H:
        raise ValueError(f"state_dict: fc.weight must read at most the {H} units that there are, found {E}")
    params = Params(I, H, O, E, check_dtype(np.result_type(*arrays.values())), with_x0="x0" in arrays)
    for name, view in params.items():
        view[...] = check_array(STATE_DICT_KEYS[name], arrays[name], view.shape)
    masks = [check_array(key, d[key], (H, H), np.float64) for key in MASK_KEYS if key in d]
    return params, masks[0] if masks else None


def _renaming(missing, unknown):
    """How keys that are the original's but for their names are to be renamed, in words; nothing for others."""
    new = {}
    for key in unknown:
        name = OTHER_KEYS.get(key.rpartition(".")[2]) or next((m for m in missing if m.endswith(f".{key}")), None)
        if name in missing:
            new[key] = name
    if not new:
        return ""
    text = f"; rename them: {{new.get(key, key): value for key, value in d.items()}} with new = {new}"
    if any(key.endswith("_l0") for key in unknown):
        text += "; torch.nn.RNN has no leak and no Dale's principle (dt = tau, constraint='free' and a mask of ones)"
    return text


def _plain_keys(keys):
    """The keys without the names of what was wrapped around the network, or around a part of it."""
    keys = [".".join(part for part in key.split(".") if part not in WRAPPERS) for key in keys]
    last = STATE_DICT_KEYS["w_in"]
    outer = next((key.removesuffix(last) for key in keys if key.endswith("." + last)), "")
    return [key.removeprefix(outer) for key in keys]


def _as_array(name, value):
    """An array of what a state_dict holds; torch is not imported for it."""
    try:
        if hasattr(value, "detach"):
            value = value.detach()
            value = (value.to_dense() if value.is_sparse else value).cpu()
            if value.dtype.is_floating_point and value.dtype.itemsize < 4:
                value = value.float()
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype.itemsize < 4 and array.dtype.kind in "fV" else array
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"state_dict: {name} is no array of numbers: {str(error).splitlines()[0]}") from None


def _of_buffer(sizes, flat):
    return Params(**sizes, flat=flat)


def init_params(config: ModelConfig, seed: int = 0, dtype: DTypeLike = "float32") -> Params:
    """Starting parameters, distributed as the original's; a pure function of (config, seed, dtype).

    Weights and biases are uniform on (-k, k), k = 1 / sqrt(fan_in). Then the part of w_rec that belongs to excitatory
    units is divided by E / (H - E), so that excitation and inhibition balance, unless w_rec is free (EI_RNN.ipynb,
    EIRecLinear.reset_parameters). Of weights that are rectified the absolute value is taken: one that starts below 0
    would never move. x0 starts at 0.

    With dynamics="brainpy" weights have k = sqrt(3 / fan_in), b_in is 0, and the division falls on the rows, as in that
    tutorial. There x0 starts at 0.1: relu'(0) = 0 is in its only path to the loss and would hold it at 0.

    The numbers come from Philox (noise.py), so they are the same on every machine.
    """
    H, I, E, R = config.n_hidden, config.n_in, config.n_exc, config.n_read
    brainpy = config.dynamics == "brainpy"
    params = Params.like(config, dtype)
    fan_in = {"w_in": I, "b_in": I, "w_rec": H, "b_rec": H, "w_out": R, "b_out": R}
    draws = Params.like(config, "float64", flat=uniforms(seed, INIT_STREAM, params.flat.size))
    for name, fan in fan_in.items():
        k = np.sqrt((3.0 if brainpy and name.startswith("w") else 1.0) / fan)
        getattr(params, name)[...] = k * (2 * getattr(draws, name) - 1)
    excitatory = params.w_rec[:E] if brainpy else params.w_rec[:, :E]
    if E < H and config.constraint != "free":
        excitatory /= E / (H - E)
    for name in EFFECTIVE_MASKS:
        if constraint_of(config, name) is CONSTRAINTS["rectify"]:
            setattr(params, name, np.abs(getattr(params, name)))
    if brainpy:
        params.b_in[...] = 0
        if params.x0 is not None:
            params.x0[...] = 0.1
    return params


def effective_weights(config: ModelConfig, params: Params, name: str = "w_rec") -> np.ndarray:
    """W = g(theta) * M of "w_rec", "w_in" or "w_out", [to, from], in the dtype of the parameters. (F1)

    By default W_rec = |theta_rec| * M, (H, H).
    """
    check_params(config, params)
    check_choice("name", name, tuple(EFFECTIVE_MASKS))
    return constraint_of(config, name).weight(getattr(params, name)) * mask_of(config, name, params.dtype)


def constraint_of(config, name):
    """The constraint of a weight matrix: g, and its derivative."""
    return CONSTRAINTS[{"w_in": config.constraint_in, "w_rec": config.constraint, "w_out": config.constraint_out}[name]]


def mask_of(config, name, dtype):
    """The mask of a weight matrix in `dtype`."""
    return EFFECTIVE_MASKS[name](config).astype(dtype)


def weight_slope(config, params, name):
    """dW / dtheta = g'(theta) * M, elementwise. (F1)"""
    return constraint_of(config, name).slope(getattr(params, name)) * mask_of(config, name, params.dtype)


def save_params(path: str | os.PathLike, config: ModelConfig, params: Params) -> None:
    """Write parameters and configuration to one safetensors file, by way of a temporary name."""
    check_params(config, params)
    save_tensors(path, {**params.state_dict(), **config.masks}, {"config": config.to_dict()})


def load_params(path: str | os.PathLike) -> tuple[ModelConfig, Params]:
    """Read (config, params) from a file that `save_params` wrote.

    Raises ValueError if it is not such a file or its parts do not fit, OSError if it cannot be read.
    """
    if Path(path).is_dir():
        what = "is a folder; of a run, load_params reads the file params.safetensors in it"
        raise IsADirectoryError(errno.EISDIR, what, str(path))
    try:
        tensors, metadata = load_tensors(path)
    except ValueError as error:
        raise ValueError(f"{error}{_of_torch(path)}") from None
    if not isinstance(metadata, dict) or "config" not in metadata:
        raise ValueError(f"{path}: not a parameter file of eirnn-np (it holds no configuration)")
    try:
        config = ModelConfig.from_dict(metadata["config"], **take_masks(tensors))
        params = Params.from_state_dict(tensors)
        check_params(config, params)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return config, params


def _of_torch(path):
    """What to do with a file that torch.save wrote, old or new; nothing for others."""
    with open(path, "rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"\x80\x02"):
        return ""
    return f"; if torch.save wrote it: eirnn_np.from_state_dict(torch.load({str(path)!r}))"


def take_masks(tensors):
    """The masks among the tensors of a file, by name; they are taken out."""
    return {name: tensors.pop(name) for name in MASKS if name in tensors}


def parameter_shapes(n_in, n_hidden, n_out, n_read, with_x0):
    """The shapes of the parameters by name, in the order of the flat buffer."""
    I, H, O, R = n_in, n_hidden, n_out, n_read
    shapes = {"w_in": (H, I), "b_in": (H,), "w_rec": (H, H), "b_rec": (H,), "w_out": (O, R), "b_out": (O,)}
    return shapes | {"x0": (H,)} if with_x0 else shapes


def check_params(config, params):
    """ValueError unless `params` has the shapes that `config` asks for."""
    expected = parameter_shapes(config.n_in, config.n_hidden, config.n_out, config.n_read, config.train_x0)
    if params.shapes != expected:
        wrong = sorted(set(params.shapes.items()) ^ set(expected.items()))
        raise ValueError(f"params do not fit config: {', '.join(f'{n} {s}' for n, s in wrong)}")
