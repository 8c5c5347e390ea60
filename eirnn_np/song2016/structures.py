"""The networks of the ten tasks: who connects to whom. Sizes and rules are the table's; 80 % of the units are E."""

import numpy as np

from ..connectivity import (
    all_to_all,
    balanced,
    normalised,
    population_connections,
    population_slices,
    random_connections,
)
from .description import Structure

EXCITATORY = 0.8
CONNECTIVITY_SEED = 0  # of what is drawn: a task has one structure, its seeds vary weights and trials


def dense(n_in: int, n_hidden: int = 100, n_out: int = 2) -> Structure:
    """All inputs to all units, all units to all others, balanced and normalised; the E units are read out."""
    E = round(EXCITATORY * n_hidden)
    c_rec = normalised(balanced(all_to_all(n_hidden), E))
    return Structure(all_to_all(n_hidden, n_in), c_rec, _reads(n_out, n_hidden, slice(E)), E)


def no_dale(n_in: int, n_hidden: int = 100, n_out: int = 2) -> Structure:
    """Weights of either sign, all to all others; all units are read out."""
    E = round(EXCITATORY * n_hidden)
    return Structure(all_to_all(n_hidden, n_in), all_to_all(n_hidden), all_to_all(n_out, n_hidden), E, dale=False)


def fixed() -> Structure:
    """rdm_fixed: E units that get the first input (IN), the second (OUT), or none (NS); IN and OUT do not meet."""
    sizes = {"IN": 20, "OUT": 20, "NS": 40, "I": 20}
    senders = {"IN": ("IN", "NS", "I"), "OUT": ("OUT", "NS", "I"), "NS": tuple(sizes), "I": tuple(sizes)}
    c_rec = population_connections(sizes, {(to, one): 1 for to, many in senders.items() for one in many})
    at = population_slices(sizes)
    c_in, c_out = np.zeros((100, 2)), np.zeros((2, 100))
    for i, name in enumerate(("IN", "OUT")):
        c_in[at[name], i] = c_out[i, at[name]] = 1
    return Structure(c_in, normalised(balanced(c_rec, 80, n_inh=20)), c_out, 80)


def areas(n_in: int) -> Structure:
    """mante_areas: a sensory area that gets the inputs and a motor area that is read out, few connections back."""
    sizes = {"E_S": 60, "E_M": 60, "I_S": 15, "I_M": 15}
    rules = {
        ("E_S", "E_S"): 1, ("E_S", "E_M"): 0.2, ("E_S", "I_S"): 1,
        ("E_M", "E_S"): 1, ("E_M", "E_M"): 1, ("E_M", "I_M"): 1,
        ("I_S", "E_S"): 1, ("I_S", "E_M"): 0.2, ("I_S", "I_S"): 1,
        ("I_M", "E_S"): 1, ("I_M", "E_M"): 1, ("I_M", "I_M"): 1,
    }  # fmt: skip
    c_rec = normalised(balanced(population_connections(sizes, rules, CONNECTIVITY_SEED), 120))
    at = population_slices(sizes)
    c_in = np.zeros((150, n_in))
    c_in[at["E_S"]] = c_in[at["I_S"]] = 1
    return Structure(c_in, c_rec, _reads(2, 150, at["E_M"]), 120)


def thirds() -> Structure:
    """multisensory: a third of E and of I gets vision (inputs 0, 2), a third audition (1, 3), a third nothing.

    The start cue, input 4, is not connected: neither is it in the authors' code.
    """
    c = dense(5, 150)
    c_in = np.zeros((150, 5))
    for units, channels in (((0, 40), (0, 2)), ((120, 130), (0, 2)), ((40, 80), (1, 3)), ((130, 140), (1, 3))):
        c_in[slice(*units), list(channels)] = 1
    return c._replace(c_in=c_in)


def sparse() -> Structure:
    """romo: 500 units; an E unit reaches each other with probability 0.1, an I unit with 0.5."""
    c_rec = random_connections(np.repeat([0.1, 0.5], [400, 100]), CONNECTIVITY_SEED)
    return Structure(all_to_all(500, 2), normalised(balanced(c_rec, 400)), _reads(2, 500, slice(400)), 400)


def all_read(n_in: int, n_hidden: int) -> Structure:
    """lee: as `dense`, and the I units are read out too, with negative weights."""
    c = dense(n_in, n_hidden)
    return c._replace(c_out=all_to_all(2, n_hidden))


def _reads(n_out, n_hidden, units):
    """Each output reads these units."""
    c = np.zeros((n_out, n_hidden))
    c[:, units] = 1
    return c
