"""Which neurogym is installed, if any; its import; and the line that gets one that works.

neurogym is the source of all tasks that have no compiled replay, and the oracle of the replay. Nothing else needs it.
"""

import contextlib
import difflib
import functools
import importlib
import importlib.util
import re
import sys
import warnings
from importlib import metadata

# Those whose streams are the replay's, as tests have found; anything older is not tried at all.
RELEASES = ("2.2.", "2.3.")
OLDEST = 2, 2
# Without the pins of neurogym 2.2, which it does not need: nothing that is installed changes.
INSTALL = (
    "pip install --no-deps neurogym==2.2.0 gymnasium==0.29.1 && "
    "pip install scipy cloudpickle farama-notifications loguru pydantic-settings tomlkit"
)
# The ids of releases 2.2 and 2.3, for those who do not have neurogym: a typo and a task of neurogym are told apart.
IDS = """
AnnubesEnv AntiReach Bandit ContextDecisionMaking DawTwoStep DelayComparison DelayMatchCategory DelayMatchSample
DelayMatchSampleDistractor1D DelayPairedAssociation DualDelayMatchSample EconomicDecisionMaking GoNogo
HierarchicalReasoning IntervalDiscrimination MotorTiming MultiSensoryIntegration Null OneTwoThreeGo
PerceptualDecisionMaking PerceptualDecisionMakingDelayResponse PostDecisionWager ProbabilisticReasoning
PulseDecisionMaking Reaching1D Reaching1DWithSelfDistraction ReachingDelayResponse ReadySetGo SpatialSuppressMotion
ToneDetection perceptualdecisionmaking.ibl20 perceptualdecisionmaking.roitman02 yang19.anti yang19.ctxdlydm1
yang19.ctxdlydm2 yang19.ctxdm1 yang19.ctxdm2 yang19.dlyanti yang19.dlydm1 yang19.dlydm2 yang19.dlygo yang19.dm1
yang19.dm2 yang19.dmc yang19.dms yang19.dnmc yang19.dnms yang19.go yang19.multidlydm yang19.multidm yang19.rtanti
yang19.rtgo
"""
TASK_IDS = tuple(f"{name}-v0" for name in IDS.split())


class NeurogymError(ImportError, RuntimeError):
    """neurogym is needed, and is not there or cannot be imported; the message is one line that says how to get it."""


@functools.cache
def _version(package, ask, _path):
    """Reading a package's metadata takes a millisecond, and many networks ask."""
    return str(ask(package) or "of no known release")


def release():
    """neurogym's release; None where it is not installed."""
    try:
        return _version("neurogym", metadata.version, tuple(sys.path))
    except metadata.PackageNotFoundError:
        pass
    try:  # a copy on the path that no installer has put there
        spec = importlib.util.find_spec("neurogym")
    except (ImportError, ValueError):
        return None
    # A folder without __init__.py, such as an uninstall leaves behind, is not neurogym.
    return None if spec is None or spec.origin is None else "of no known release"


def trouble():
    """Why neurogym cannot be used here, in words; None if it can. Imports it."""
    found = release()
    if found is None:
        return "neurogym is not installed"
    if (number := _number(found)) and number < OLDEST:
        return f"neurogym {found} is older than {OLDEST[0]}.{OLDEST[1]}"
    return _import_trouble(found)


@functools.cache
def _import_trouble(found):
    try:
        with quiet():
            neurogym = importlib.import_module("neurogym")
            importlib.import_module("gymnasium.spaces")
            importlib.import_module("neurogym.envs.registration").ALL_EXTENDED_ENVS  # noqa: B018
            neurogym.make, neurogym.Dataset  # noqa: B018
    except Exception as error:  # whatever the import of a package in pieces, or of its dependencies, may raise
        return f"neurogym {found} is installed but cannot be imported ({one_line(error)})"
    return None


def known():
    """The ids of all tasks of the neurogym that is installed, or of those that are reproduced."""
    if trouble():
        return TASK_IDS
    return tuple(importlib.import_module("neurogym.envs.registration").ALL_EXTENDED_ENVS)


def check_known(task):
    """ValueError for a task that neurogym does not have."""
    ids = known()
    if task in ids or (not trouble() and task in importlib.import_module("gymnasium").registry):  # or one's own
        return
    near = difflib.get_close_matches(str(task), ids, 3, 0.4)
    raise ValueError(f"unknown task {task!r}{'; did you mean ' + ', '.join(near) + '?' if near else ''}")


def load(who):
    """The module neurogym; NeurogymError, with `who` needs it, where there is none that works."""
    if why := trouble():
        raise NeurogymError(f"{who} needs neurogym, and {why}; get it by: {INSTALL}")
    return importlib.import_module("neurogym")


def refused():
    """Why the replay is not that of the neurogym which is installed and works; None if it is, or there is none."""
    found = release()
    if found is None or found.startswith(RELEASES) or trouble():
        return None
    return f"the replay is that of neurogym {' and '.join(r + 'x' for r in RELEASES)}, found {found}"


def _number(found):
    match = re.match(r"(\d+)\.(\d+)", found)
    return match and tuple(map(int, match.groups()))


def one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextlib.contextmanager
def quiet():
    """Silence neurogym's and gymnasium's deprecation notes around a call to them, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
