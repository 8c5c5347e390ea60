"""eirnn-np: excitatory-inhibitory RNNs trained by hand-derived BPTT, in NumPy and Numba.

Song, Yang & Wang (2016), PLoS Comput Biol 12(2): e1004792. Start with the README; the equations are in
docs/derivation.md and, line by line, in reference.py.
"""

from .algorithms import GradientTrainer, algorithm
from .checkpoint import load_checkpoint, save_checkpoint
from .config import ModelConfig, block_mask, sign_mask, sparse_mask
from .evaluation import evaluate
from .golden import compare_golden, write_golden
from .gradcheck import check_gradients, check_network
from .model import Trajectory, forward, loss_and_grads, recurrent_noise
from .optimisers import SGD, Adam
from .params import Params, effective_weights, from_state_dict, init_params, load_params, save_params
from .runs import Settings, resume, run
from .tasks import Trial, make_batches, make_trials
from .trainer import RunError, Trainer, train

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "GradientTrainer",
    "ModelConfig",
    "Params",
    "RunError",
    "Settings",
    "Trainer",
    "Trajectory",
    "Trial",
    "algorithm",
    "block_mask",
    "check_gradients",
    "check_network",
    "compare_golden",
    "effective_weights",
    "evaluate",
    "forward",
    "from_state_dict",
    "init_params",
    "load_checkpoint",
    "load_params",
    "loss_and_grads",
    "make_batches",
    "make_trials",
    "recurrent_noise",
    "resume",
    "run",
    "save_checkpoint",
    "save_params",
    "sign_mask",
    "sparse_mask",
    "train",
    "write_golden",
]
