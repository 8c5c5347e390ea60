"""The ten tasks of Song, Yang & Wang (2016), to be laid beside the table of docs/paper.md; times in ms.

Output 0 is the choice of positive evidence, of a high rate, of f1 > f2. Where nothing is said the target is lo = 0.2.
"""

import difflib
import itertools

import numpy as np

from . import structures
from .description import Catch, Stop, Task
from .trials import Epoch, Exponential, Uniform

HI = 1.0
COHERENCES = (-16, -8, -4, -2, -1, 1, 2, 4, 8, 16)  # per cent; the sign is the direction
TESTED = (-16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16)


def _evidence(coherence, scale):
    """The two channels of evidence for and against."""
    return [(1 + scale * coherence / 100) / 2, (1 - scale * coherence / 100) / 2]


def _choose(choice, epoch="decision", hi=HI, lo=0.2):
    """Targets of a choice: hi at the right output, lo at the other, in one epoch."""

    def targets(condition):
        right = choice(condition)
        return {} if right is None else {epoch: [hi if output == right else lo for output in (0, 1)]}

    return targets


# --- random dots: figures 2 and 3 ---


def _direction(condition):
    return None if condition["coherence"] == 0 else int(condition["coherence"] < 0)


def _dots(name, figure, title, structure, epochs, cue=False, stimulus=("stimulus",), hi=HI, catch=1 / 11):
    def inputs(condition):
        shown = _evidence(condition["coherence"], 3.2) + [1] * cue
        return {epoch: shown for epoch in stimulus}

    return Task(
        name, figure, title,
        channels=("evidence 0", "evidence 1", "start")[: 2 + cue],
        epochs=epochs,
        conditions=[{"coherence": c} for c in COHERENCES],
        test_conditions=[{"coherence": c} for c in TESTED],
        inputs=inputs, targets=_choose(_direction, hi=hi), choice=_direction,
        catch=Catch(catch, 2000),
        structure=structure,
        stop=Stop("percent_correct", 85),
    )  # fmt: skip


_VIEWED = (Epoch("fixation", 100, 300), Epoch("stimulus", 800, scored=False), Epoch("decision", 300))

rdm_varstim = _dots(
    "rdm_varstim", "2A", "random dots shown for a time that varies", lambda: structures.dense(3), cue=True,
    epochs=(Epoch("fixation", 100, 500), Epoch("stimulus", Exponential(330, 80, 1500), scored=False),
            Epoch("decision", 300)),
)  # fmt: skip
rdm_rt = _dots(  # 800 ms of stimulus, 1500 in tests: an answer is asked for from 300 ms on, and due at any time after
    "rdm_rt", "2B", "random dots, answered when the network is ready", lambda: structures.dense(3), cue=True,
    epochs=(Epoch("fixation", 100, 300), Epoch("stimulus", 300, scored=False), Epoch("decision", 500, 1200)),
    stimulus=("stimulus", "decision"), hi=1.2, catch=5 / 11,
)  # fmt: skip
rdm_nodale = _dots("rdm_nodale", "3A", "random dots without Dale's principle", lambda: structures.no_dale(2), _VIEWED)
rdm_dense = _dots("rdm_dense", "3B", "random dots, all-to-all", lambda: structures.dense(2), _VIEWED)
rdm_fixed = _dots("rdm_fixed", "3C", "random dots with structure", structures.fixed, _VIEWED)


# --- context: figures 4 and 5 ---

_CONTEXTS = ("motion", "colour")
_STRENGTHS = (-10, -3, -1, 1, 3, 10)


def _attended(condition):
    return int(condition[condition["context"]] < 0)


def _two_contexts(name, figure, title, structure):
    def inputs(condition):
        cue = [int(condition["context"] == context) for context in _CONTEXTS]
        return {"stimulus": cue + _evidence(condition["motion"], 5) + _evidence(condition["colour"], 5)}

    return Task(
        name, figure, title,
        channels=("context motion", "context colour", "motion 0", "motion 1", "colour 0", "colour 1"),
        epochs=(Epoch("fixation", 100, 400), Epoch("stimulus", 800, scored=False), Epoch("decision", 300)),
        conditions=[{"context": context, "motion": motion, "colour": colour}
                    for context, motion, colour in itertools.product(_CONTEXTS, _STRENGTHS, _STRENGTHS)],
        inputs=inputs, targets=_choose(_attended), choice=_attended,
        catch=Catch(1 / 73, 2000),
        structure=structure,
        stop=Stop("percent_correct", 90),
        batch_size=50, rounds=20,
    )  # fmt: skip


mante = _two_contexts("mante", "4", "which of two features decides depends on the context",
                      lambda: structures.dense(6, 150))  # fmt: skip
mante_areas = _two_contexts("mante_areas", "5B", "the same with a sensory and a motor area",
                            lambda: structures.areas(6))  # fmt: skip


# --- two senses: figure 6 ---


def _scaled(value, low, high):
    """Positively and negatively tuned: 0.4 .. 1.2 over [low, high], and the reverse."""
    return 0.4 + 0.8 * (value - low) / (high - low), 0.4 + 0.8 * (high - value) / (high - low)


def _senses(condition):
    up, down = _scaled(condition["rate"], 9, 16)
    vision, audition = (condition["modality"] in (sense, "both") for sense in ("vision", "audition"))
    return {"stimulus": [up * vision, up * audition, down * vision, down * audition, 1]}


def _high(condition):
    return int(condition["rate"] < 12.5)


multisensory = Task(
    "multisensory", "6", "a rate that is seen, heard, or both: high or low?",
    channels=("vision +", "audition +", "vision -", "audition -", "start"),
    epochs=(Epoch("fixation", 100, 500), Epoch("stimulus", 1000, scored=False), Epoch("decision", 300)),
    conditions=[{"modality": modality, "rate": rate}
                for modality in ("vision", "audition", "both") for rate in range(9, 17)],
    inputs=_senses, targets=_choose(_high), choice=_high,
    catch=Catch(1 / 5, 2500),
    structure=structures.thirds,
    stop=Stop("percent_correct", 90),
    rounds=50,
)  # fmt: skip


# --- two frequencies, one after the other: figure 7 ---

PAIRS = ((18, 10), (22, 14), (26, 18), (30, 22), (34, 26))


def _first_higher(condition):
    return int(condition["f1"] < condition["f2"])


romo = Task(
    "romo", "7", "which of two vibrations had the higher frequency, the first or the second?",
    channels=("positively tuned", "negatively tuned"),
    epochs=(Epoch("fixation", 100, 500), Epoch("f1", 500, scored=False),
            Epoch("delay", Uniform(2500, 3500), 3000, scored=False),
            Epoch("f2", 500, scored=False), Epoch("decision", 300)),
    conditions=[{"f1": pair[i], "f2": pair[1 - i]} for i in (0, 1) for pair in PAIRS],
    inputs=lambda condition: {epoch: _scaled(condition[epoch], 10, 34) for epoch in ("f1", "f2")},
    targets=_choose(_first_higher), choice=_first_higher,
    catch=Catch(1 / 11, 2500),
    structure=structures.sparse,
    stop=Stop("smallest_condition", 85, checks=1),
    rounds=50,
)  # fmt: skip


# --- sequences of eye movements: figure 8 ---

SEQUENCES = ((5, 1, 0), (3, 1, 2), (3, 7, 8), (5, 7, 6), (5, 1, 2), (3, 1, 0), (3, 7, 6), (5, 7, 8))
_OPTIONS = {4: (3, 5), 1: (0, 2), 3: (1, 7), 5: (1, 7), 7: (6, 8)}  # the dots shown beside the present one
MOVEMENTS = ("M1", "M2", "M3")


def dot(k: int) -> tuple[float, float]:
    """(x, y) of dot k of the 3 x 3, row by row from the upper left."""
    return -0.5 + 0.5 * (k % 3), -0.5 + 0.5 * (2 - k // 3)


def _screen(condition):
    """9 dots, then which of the 8 sequences it is: that is on all the time."""
    path = (4, *SEQUENCES[condition["sequence"]])
    shown = {"ITI": (), "fixation": (4,)} | {m: (here, *_OPTIONS[here]) for m, here in zip(MOVEMENTS, path)}
    cue = np.arange(8) == condition["sequence"]
    return {epoch: np.concatenate([np.isin(np.arange(9), dots), cue]) for epoch, dots in shown.items()}


def _gaze(condition):
    path = (4, *SEQUENCES[condition["sequence"]])
    return {epoch: dot(k) for epoch, k in zip(("fixation", *MOVEMENTS), path)}


lee = Task(
    "lee", "8", "eight learnt sequences of three eye movements",
    channels=(*(f"dot {k}" for k in range(9)), *(f"sequence {k}" for k in range(8))),
    epochs=(Epoch("ITI", 1000, scored=False), Epoch("fixation", 1000), *(Epoch(m, 500) for m in MOVEMENTS)),
    conditions=[{"sequence": k} for k in range(8)],
    inputs=_screen, targets=_gaze,
    structure=lambda: structures.all_read(17, 200),
    stop=Stop("rmse", 0.05, checks=1),
    dt=10.0, tau=50.0, sigma_rec=0.01, batch_size=1, train_x0=False, rounds=5, check_every=1000,
)  # fmt: skip


TASKS = {task.name: task for task in (
    rdm_varstim, rdm_rt, rdm_nodale, rdm_dense, rdm_fixed, mante, mante_areas, multisensory, romo, lee,
)}  # fmt: skip


def task(name: str | Task) -> Task:
    """A task of `TASKS` by its name; a Task is returned as it is. ValueError, with the nearest name, for any other."""
    if isinstance(name, Task):
        return name
    if name not in TASKS:
        near = difflib.get_close_matches(str(name), TASKS, 1, 0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no task {name!r} of the paper: {hint}there are {', '.join(TASKS)}")
    return TASKS[name]
