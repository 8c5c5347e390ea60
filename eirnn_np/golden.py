"""Golden files: one safetensors file in float64 with all that a port in another framework needs to be checked.

The numbers come from the readable reference (backend "numpy").
"""

import os

import numpy as np

from .config import ModelConfig
from .differences import Check, GradientReport
from .files import load_tensors, save_tensors
from .model import forward, input_noise, loss_and_grads, recurrent_noise
from .noise import uniforms
from .optimisers import Adam
from .params import init_params

GOLDEN_STREAM = 0x474F4C44  # "GOLD": inputs and labels
ADAM_STEPS = (1, 10)
RESULTS = ("states", "rates", "outputs", "loss", "grads.", "params_after_")  # the other tensors are what goes in
# A correct port in float64 differs by rounding alone. But Adam's first step divides two numbers of the same size, so a
# gradient that is nearly 0 can turn its rounding into a visible step (measured: below 1e-9).
TOLERANCE = {"default": 1e-10, "params_after": 1e-7}


def golden_tensors(config: ModelConfig, n_time: int = 20, n_batch: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of a golden file, by name, in float64.

    ``params.KEY``, ``inputs`` (T, B, I), ``labels`` (T, B) int64 or real targets (T, B, O), ``noise`` (T, B, H)
    already scaled, ``input_noise`` (T, B, I) where there is such noise, ``states``, ``rates``, ``outputs``, ``loss``
    (), ``grads.KEY``, and ``params_after_1.KEY``, ``params_after_10.KEY``: after so many steps of Adam (lr 1e-3) on
    this batch with this noise. KEY as in the state_dict.
    """
    T, B, I, O = n_time, n_batch, config.n_in, config.n_out
    params = init_params(config, seed, "float64")
    draws = uniforms(seed, GOLDEN_STREAM, T * B * (I + O))
    inputs = 2 * draws[: T * B * I].reshape(T, B, I) - 0.5
    labels = draws[T * B * I :].reshape(T, B, O)
    if config.loss == "cross_entropy":
        labels = labels.argmax(axis=-1)
    noise = recurrent_noise(config, seed, 0, T, B, "float64")
    to_inputs = input_noise(config, seed, 0, T, B, "float64") if config.sigma_in else None

    def gradient():
        return loss_and_grads(config, params, inputs, labels, noise, backend="numpy", input_noise=to_inputs)

    run = forward(config, params, inputs, noise, backend="numpy", input_noise=to_inputs)
    loss, grads = gradient()
    tensors = {"inputs": inputs, "labels": labels, "noise": noise, "loss": np.array(loss), **run._asdict()}
    tensors |= {} if to_inputs is None else {"input_noise": to_inputs}
    tensors |= _prefixed("params", params) | _prefixed("grads", grads)
    adam = Adam(lr=1e-3)
    for k in range(1, max(ADAM_STEPS) + 1):
        adam.update(params, gradient()[1])
        if k in ADAM_STEPS:
            tensors |= _prefixed(f"params_after_{k}", params)
    return tensors | config.masks


def write_golden(
    path: str | os.PathLike, config: ModelConfig, n_time: int = 20, n_batch: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    """Write a golden file; its metadata holds the configuration as JSON. Returns its tensors."""
    tensors = golden_tensors(config, n_time, n_batch, seed)
    save_tensors(path, tensors, {"config": config.to_dict(), "seed": seed, "adam": {"lr": 1e-3}})
    return tensors


def compare_golden(path: str | os.PathLike, theirs_path: str | os.PathLike) -> GradientReport:
    """Compare a port's tensors with a golden file, for all names that both hold.

    Returns
    -------
    GradientReport
        A row for each tensor that the port wrote; errors relative to the norm of the golden tensor.

    Raises
    ------
    ValueError
        A file that cannot be read, a shape that differs, a name that the golden file does not have, or none
        in common.
    """
    golden, metadata = load_tensors(path)
    if not isinstance(metadata, dict) or "config" not in metadata or "loss" not in golden:
        raise ValueError(f"{path}: not a golden file of eirnn-np")
    theirs, _ = load_tensors(theirs_path)
    unknown = sorted(set(theirs) - set(golden))
    if unknown or not theirs:
        found = f"unknown {', '.join(unknown)}" if unknown else "none"
        raise ValueError(f"{theirs_path}: tensors must have names of the golden file, found {found}")
    norms, rows = {}, {}
    for name in golden:
        if name not in theirs:
            continue
        expected, found = golden[name], theirs[name]
        if found.shape != expected.shape and expected.size != found.size:
            raise ValueError(f"{theirs_path}: {name} must have shape {expected.shape}, found {found.shape}")
        expected, found = expected.astype(np.float64), found.reshape(expected.shape).astype(np.float64)
        kind = "params_after" if name.startswith("params_after") else "default"
        norms[name] = float(np.linalg.norm(expected))
        error = float(np.linalg.norm(found - expected))
        rows[name] = {"golden": Check(error, TOLERANCE[kind] * norms[name], expected.size, norm=norms[name])}
    if not any(name.startswith(RESULTS) for name in rows):
        raise ValueError(
            f"{theirs_path}: must hold a result of the port ({', '.join(RESULTS)}), found its inputs alone"
        )
    missing = len(golden) - len(rows)
    notes = [f"{len(rows)} tensors compared; the golden file holds {missing} more"]
    return GradientReport(norms, rows, f"{theirs_path} against {path}", notes)


def _prefixed(prefix, params):
    return {f"{prefix}.{key}": value for key, value in params.state_dict().items()}
