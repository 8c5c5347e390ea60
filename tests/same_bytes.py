"""Trainings as one number: the same on any CPU, for any number of threads.

    python tests/same_bytes.py                       prints a hash of the parameters for each dtype
    python tests/same_bytes.py options-float32       and of networks with all options
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+sse2 python tests/same_bytes.py

The hashes must be those of DIGESTS and OPTION_DIGESTS, on any machine. The first are those of 200 steps of the plain
network (eirnn_np/bench/same_bytes.py).
"""

import hashlib
import sys

import numpy as np

import eirnn_np as ei
from eirnn_np.bench.same_bytes import DIGESTS, digest, final_params
from eirnn_np.noise import uniforms

__all__ = ["DIGESTS", "OPTION_DIGESTS", "digest", "final_params", "options_digest"]

OPTION_DIGESTS = {
    "options-float32": "c74c9dfc885e31ebfc92b3cc68a13d6d",
    "options-float64": "0597b25250ec980f3d9f2de4c65d622a",
}
STEPS, T, B, I, H, STREAM = 12, 15, 19, 37, 21, 0x4F505453  # "OPTS"; more inputs than a vector, odd sizes


def networks():
    """(configuration, optimiser, frozen) of networks that have every option between them."""
    masks = {"mask": (H, H), "mask_in": (H, I)}
    draws = {name: 2 * uniforms(7, STREAM, int(np.prod(shape))).reshape(shape) - 1 for name, shape in masks.items()}
    noise = {"sigma_in": 0.3, "baseline_in": 0.2, "tau_in": 60.0}
    taus = tuple(np.linspace(25.0, 180.0, H))
    weights = {"l1_in": 0.01, "l2_rec": 0.02, "l1_out": 0.03, "l2_out": 0.01}
    yield {"activation": "softplus", "penalties": {"omega": 2.0}, **noise}, ei.SGD(0.1, clip=0.5), None
    yield (
        {"activation": "tanh", "constraint": "free", "readout": "all", "penalties": {"omega": 1.0, "l2_rates": 0.1},
         "tau": taus},
        ei.Adam(0.01, clip=0.2), {"b_in": True},
    )  # fmt: skip
    yield (
        {"activation": "retanh", "constraint": "rectify", "constraint_in": "abs", "constraint_out": "rectify",
         "readout": "all", "penalties": weights, "train_x0": True},
        ei.Adam(0.01), {"w_rec": uniforms(9, STREAM, H * H).reshape(H, H) < 0.3},
    )  # fmt: skip
    yield {"activation": "sigmoid", "dynamics": "brainpy", **draws, **noise, "rectify_inputs": True}, ei.SGD(0.2), None
    yield {"penalties": {"omega": 3.0}, "constraint_in": "rectify", "mask_in": draws["mask_in"]}, None, None


def options_digest(dtype, threads=None):
    """Of the parameters of all these networks, trained for a few steps with weights for time."""
    whole = hashlib.sha256()
    for case, (fields, optimiser, freeze) in enumerate(networks()):
        config = ei.ModelConfig(n_in=I, n_hidden=H, n_out=3, sigma_rec=0.2, **fields)
        params = ei.init_params(config, seed=case, dtype=dtype)
        trainer = ei.Trainer(config, params, seed=2 + case, threads=threads, optimiser=optimiser, freeze=freeze)
        for k in range(STEPS):
            draws = uniforms(k, STREAM, T * B * (I + 2)).reshape(T, B, I + 2)
            trainer.step(
                (3 * draws[:, :, :I] - 1).astype(dtype), (3 * draws[:, :, I]).astype(np.int64), draws[:, :, -1]
            )
        assert trainer.k == STEPS
        whole.update(digest(params).encode())
    return whole.hexdigest()[:32]


def of(name):
    """The hash by its name."""
    return options_digest(name[8:]) if name.startswith("options-") else digest(final_params(name))


if __name__ == "__main__":
    for name in sys.argv[1:] or DIGESTS:
        print(name, of(name), flush=True)
