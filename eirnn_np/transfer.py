"""Parameters for a network from those of another one, of other sizes: for fine-tuning. Says what it copied.

Shapes: I inputs, H units, E excitatory units, R units that are read out, O outputs.
"""

import numpy as np

from .config import EFFECTIVE_MASKS, ModelConfig
from .functions import CONSTRAINTS
from .params import Params, check_params, constraint_of, effective_weights, init_params, mask_of


def init_from(
    config: ModelConfig, trained: Params, trained_config: ModelConfig, seed: int = 0
) -> tuple[Params, list[str]]:
    """Starting parameters that copy from a trained network what fits, and are `init_params` elsewhere.

    The first inputs and outputs of one are those of the other; excitatory units take the place of excitatory ones, and
    inhibitory of inhibitory ones, in their order, as many as both have. A connection is copied where both its ends are,
    unless the trained network's mask left it out. What is copied is its weight W: theta too, unless constraint or mask
    give theta another meaning in the new network.

    Parameters
    ----------
    config : ModelConfig
        Of the new network.
    trained, trained_config
        The network to start from.
    seed : int
        Of what is not copied.

    Returns
    -------
    params : Params
        In the dtype of `trained`.
    copied : list of str
        One line for each parameter: how many of its numbers come from the trained network.

    Raises
    ------
    ValueError
        The parameters are not those of their configuration, or a constraint of the new network forbids the sign of a
        weight.
    """
    check_params(trained_config, trained)
    params = init_params(config, seed, trained.dtype)
    old, new = (_units(c, *_common(config, trained_config)) for c in (trained_config, config))
    n_in, n_out = min(config.n_in, trained_config.n_in), min(config.n_out, trained_config.n_out)
    read = [k for k in range(len(new)) if new[k] < config.n_read and old[k] < trained_config.n_read]
    outputs = np.arange(n_out)
    places = {  # of each parameter: here, there
        "w_in": (np.ix_(new, np.arange(n_in)), np.ix_(old, np.arange(n_in))),
        "w_rec": (np.ix_(new, new), np.ix_(old, old)),
        "w_out": (np.ix_(outputs, new[read]), np.ix_(outputs, old[read])),
        **{name: (new, old) for name in ("b_in", "b_rec", "x0")},
        "b_out": (outputs, outputs),
    }
    copied = []
    for name, values in params.items():
        source = getattr(trained, name)
        if source is None:
            copied.append(f"{name}: not copied, the trained network has none")
            continue
        here, there = places[name]
        fits = np.ones(source[there].shape, bool)
        if name in EFFECTIVE_MASKS:
            source, fits = _as_theta(config, trained, trained_config, name, here, there)
        else:
            source = source[there]
        values[here] = np.where(fits, source, values[here])
        copied.append(f"{name}: {fits.sum()} of {values.size} numbers copied")
    left = [name for name, _ in trained.items() if getattr(params, name) is None]
    return params, copied + [f"{name}: left out, the new network has none" for name in left]


def _as_theta(config, trained, trained_config, name, here, there):
    """theta of `here` in the new network with the weights of `there`, and which of them are connections of both."""
    theta, weights = getattr(trained, name)[there], effective_weights(trained_config, trained, name)[there]
    mask, before = mask_of(config, name, trained.dtype)[here], mask_of(trained_config, name, trained.dtype)[there]
    g, fits = constraint_of(config, name), (before != 0) | (mask == 0)
    changed = fits & (mask != 0) & ((mask != before) | (g is not constraint_of(trained_config, name)))
    theta[changed] = weights[changed] / mask[changed]
    if g is not CONSTRAINTS["free"] and (theta[changed] < 0).any():
        raise ValueError(f"{name} has weights of a sign that constraint and mask of the new network forbid")
    return theta, fits


def _common(*configs):
    """How many excitatory and how many inhibitory units both have."""
    return min(c.n_exc for c in configs), min(c.n_hidden - c.n_exc for c in configs)


def _units(config, n_exc, n_inh):
    """The first excitatory and the first inhibitory units."""
    return np.concatenate([np.arange(n_exc), config.n_exc + np.arange(n_inh)])
