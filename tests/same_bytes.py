"""A training of 200 steps as one number: the same on any CPU and for any number of threads.

    python tests/same_bytes.py                       prints a hash of the parameters for each dtype
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+sse2 python tests/same_bytes.py

All that goes in comes from the package's own counter-based generator, so any machine can be checked against
the hashes in test_same_bytes.py.
"""

import hashlib
import sys

import numpy as np

import eirnn_np as ei
from eirnn_np.noise import uniforms

STEPS, T, B, STREAM = 200, 20, 19, 0x54455354  # "TEST"


def final_params(dtype, dynamics="song2016", threads=None):
    config = ei.ModelConfig(n_in=3, n_hidden=50, n_out=3, dynamics=dynamics)
    trainer = ei.Trainer(config, ei.init_params(config, seed=1, dtype=dtype), lr=1e-2, seed=2, threads=threads)
    for k in range(STEPS):
        draws = uniforms(k, STREAM, T * B * 4).reshape(T, B, 4)
        trainer.step((3 * draws[:, :, :3] - 1).astype(dtype), (3 * draws[:, :, 3]).astype(np.int64))
    assert np.isfinite(trainer.params.flat).all()
    return trainer.params


def digest(params):
    return hashlib.sha256(params.flat.astype(params.dtype.newbyteorder("<")).tobytes()).hexdigest()[:32]


if __name__ == "__main__":
    for name in sys.argv[1:] or ("float32", "float64"):
        print(name, digest(final_params(name)), flush=True)
