"""A training of 200 steps as one number: the same on any CPU and for any number of threads.

All that goes in comes from the package's own counter-based generator, so any machine can be held against DIGESTS.
"""

import hashlib

import numpy as np

from ..config import ModelConfig
from ..noise import uniforms
from ..params import init_params

# sha256 (first 32 digits) of the parameters after 200 steps. A change of these is a change of the arithmetic: say so in
# the CHANGELOG.
DIGESTS = {"float32": "7ed56b2194493fa696ac376035dc7311", "float64": "2aa75b5c80fa6a38d3f039388a075650"}
STEPS, T, B, STREAM = 200, 20, 19, 0x54455354  # "TEST"


def final_params(dtype, dynamics="song2016", threads=None):
    """The parameters after the training."""
    from ..trainer import Trainer

    config = ModelConfig(n_in=3, n_hidden=50, n_out=3, dynamics=dynamics)
    trainer = Trainer(config, init_params(config, seed=1, dtype=dtype), lr=1e-2, seed=2, threads=threads)
    for k in range(STEPS):
        draws = uniforms(k, STREAM, T * B * 4).reshape(T, B, 4)
        trainer.step((3 * draws[:, :, :3] - 1).astype(dtype), (3 * draws[:, :, 3]).astype(np.int64))
    return trainer.params


def digest(params):
    """Of the parameters' bytes, little-endian."""
    return hashlib.sha256(params.flat.astype(params.dtype.newbyteorder("<")).tobytes()).hexdigest()[:32]
