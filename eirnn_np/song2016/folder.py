"""The run folder of a network of the paper: one whole state to go on from, and what a person or a script reads.

config.json result.json validation.csv loss.csv  params.safetensors (last) best.safetensors  checkpoint.safetensors
"""

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checkpoint import CHECKPOINT, PREVIOUS
from ..checks import check_dtype, check_float, check_integer
from ..config import MASKS, ModelConfig, Penalties
from ..files import check_seal, load_tensors, read_text, save_sealed, write_file, write_json
from ..params import Params, load_params, save_params
from ..runs.folder import environment, write_losses
from ..trainer import RunError
from .description import Task
from .names import MAX_TRIALS, OMEGA

BEST, LAST = "best.safetensors", "params.safetensors"
FORMAT = 1
_PARTS = ("params.", "best.")


@dataclass(frozen=True)
class Plan:
    """What one training is made of, besides the task; the defaults are the paper's.

    seed of weights, trials and noise; omega, lambda_Omega; lr of SGD; max_trials, after which training ends in any
    case.
    """

    seed: int = 0
    omega: float = OMEGA
    lr: float = 0.01
    dtype: str = "float32"
    max_trials: int = MAX_TRIALS

    def __post_init__(self):
        found = {
            "seed": check_integer("seed", self.seed, 0, 2**32 - 1),
            "omega": check_float("omega", self.omega, low=0),
            "lr": check_float("lr", self.lr, above=0),
            "dtype": check_dtype(self.dtype).name,
            "max_trials": check_integer("max_trials", self.max_trials, 1, 2**40),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)  # frozen

    def config(self, task: Task) -> ModelConfig:
        """The network that is trained."""
        return replace(task.config, penalties=Penalties(omega=self.omega))


class State(NamedTuple):
    """All that a training needs to go on to the bit."""

    params: Params
    best: Params
    losses: np.ndarray
    checks: list
    seconds: float
    safeguards: int
    cpu_seconds: float | None = 0.0  # None: part of it was not counted


def folder_of(parent: str | Path, name: str, plan: Plan) -> Path:
    """Where a network is kept: PARENT/NAME/seed-000, with the Omega in its name where it is not the paper's."""
    other = "" if plan.omega == Plan.omega else f"omega-{plan.omega:g}-"
    return Path(parent) / name / f"{other}seed-{plan.seed:03d}"


def check_inside(folder: Path) -> None:
    """RunError where PARENT/NAME/seed-000 is reached by a link: a stranger's PARENT leads nowhere else."""
    for path in (folder.parent, folder):
        if path.is_symlink():
            raise RunError(f"{path} must be a folder, and no link to one")


@contextlib.contextmanager
def made(folder: Path):
    """The folder, made if need be; an OSError of it inside becomes a RunError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RunError(f"cannot write to the run folder {folder}: {error.strerror or error}") from None


def write_state(folder: Path, task: Task, plan: Plan, state: State) -> None:
    """The checkpoint, whole; the one before it is kept."""
    tensors = {"losses": np.asarray(state.losses, np.float64)}
    for prefix, params in zip(_PARTS, (state.params, state.best)):
        tensors |= {prefix + key: array for key, array in params.state_dict().items()}
    config = plan.config(task)
    tensors |= config.masks
    metadata = {
        "song2016": FORMAT, "task": task.name, "plan": asdict(plan), "config": config.to_dict(), "checks": state.checks,
        "seconds": state.seconds, "safeguards": state.safeguards, "cpu_seconds": state.cpu_seconds,
    }  # fmt: skip
    save_sealed(folder / CHECKPOINT, tensors, metadata, folder / PREVIOUS, _read_whole)


def read_state(folder: Path, task: Task, plan: Plan, report) -> State | None:
    """The state that a folder holds, None where nothing was begun; RunError for another training's, or a broken one."""
    check_folder(folder, task.name)
    found, problem = None, None
    for name in (CHECKPOINT, PREVIOUS):
        try:
            found = _read_whole(folder / name)
            break
        except FileNotFoundError:
            continue
        except ValueError as error:
            problem = error
            report(f"{folder / name} is damaged: going on from {PREVIOUS}, if it is whole")
    if found is None:
        taken = [name for name in ("config.json", BEST, LAST, "loss.csv") if (folder / name).exists()]
        if problem or taken:
            raise RunError(
                f"{folder} holds no training that can go on ({problem or 'no checkpoint'}); take another --out"
            )
        return None
    tensors, metadata = found
    try:
        then = Plan(**metadata["plan"])
        masks = {name: tensors.pop(name) for name in MASKS if name in tensors}
        config = ModelConfig.from_dict(metadata["config"], **masks)
        params, best = (
            Params.from_state_dict({n.removeprefix(p): a for n, a in tensors.items() if n.startswith(p)})
            for p in _PARTS
        )
        state = State(params, best, tensors["losses"], metadata["checks"], metadata["seconds"], metadata["safeguards"],
                      metadata.get("cpu_seconds"))  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{folder / CHECKPOINT} cannot be read: {' '.join(str(error).split())}") from None
    if metadata["task"] != task.name:
        raise RunError(f"{folder} holds a training of {metadata['task']}, not of {task.name}; take another --out")
    for name, value in asdict(plan).items():
        if name != "max_trials" and getattr(then, name) != value:
            raise RunError(
                f"{folder} holds a training with {name} {getattr(then, name)}, found {value}; take another --out"
            )
    if config != plan.config(task):
        raise RunError(f"{folder} holds a training of another network than {task.name} has now; take another --out")
    return state


def check_folder(folder: Path, name: str) -> None:
    """RunError where a folder is that of another task, or of another kind of run."""
    try:
        content = json.loads(read_text(folder / "config.json"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {folder / 'config.json'}: {' '.join(str(error).split())}") from None
    paper = content.get("paper") if isinstance(content, dict) else None
    if not isinstance(paper, dict) or "task" not in paper:
        raise RunError(f"{folder} holds a run of eirnn-np train, none of the paper; take another --out")
    if paper["task"] != name:
        raise RunError(f"{folder} holds a training of {paper['task']}, not of {name}; take another --out")


def write_tables(folder: Path, task: Task, plan: Plan, state: State, result: dict) -> None:
    """What people and scripts read; of an environment that is there already, nothing changes."""
    config = plan.config(task)
    path = folder / "config.json"
    then = json.loads(read_text(path)) if path.exists() else environment()
    now = {"model": config.to_dict(), "paper": {"task": task.name, **asdict(plan)}}
    write_json(path, {**now, **then, **now})
    write_json(folder / "result.json", result)
    rows = [f"{c['trials']},{c['loss']!r},{c['rmse']!r},{c['performance']!r}\n" for c in state.checks]
    write_file(folder / "validation.csv", "trials,loss,rmse,performance\n" + "".join(rows))
    write_losses(folder, state.losses)
    save_params(folder / LAST, config, state.params)
    save_params(folder / BEST, config, state.best)


class PaperRun(NamedTuple):
    """A run folder of the paper, read: result is what result.json holds; params are the best."""

    folder: Path
    name: str
    plan: Plan
    config: ModelConfig
    params: Params
    result: dict
    checks: list


def is_paper_run(folder: str | Path) -> bool:
    """Does a run folder belong to the paper?"""
    try:
        return "paper" in json.loads(read_text(Path(folder) / "config.json"))
    except (OSError, ValueError, TypeError, RecursionError):  # the last of JSON that is nested without end
        return False


def read_run(folder: str | Path) -> PaperRun:
    """Read a run folder of the paper; RunError says what is missing or broken."""
    folder = Path(folder)
    try:
        paper = json.loads(read_text(folder / "config.json"))["paper"]
        plan = Plan(**{name: value for name, value in paper.items() if name != "task"})
        result = json.loads(read_text(folder / "result.json"))
        config, params = load_params(folder / BEST)
        lines = read_text(folder / "validation.csv").splitlines()
        names = lines[0].split(",")
        checks = [dict(zip(names, map(float, line.split(",")))) for line in lines[1:]]
        return PaperRun(folder, paper["task"], plan, config, params, result, checks)
    except FileNotFoundError as error:
        raise RunError(f"{folder} is no run of the paper: it has no {Path(error.filename).name}") from None
    except OSError as error:
        raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise RunError(f"the run {folder} cannot be read: {' '.join(str(error).split())}") from None


def find_runs(parent: str | Path) -> list[PaperRun]:
    """All runs of the paper below a folder, in the order of their paths; RunError if there is none."""
    parent = Path(parent)
    below = [] if is_paper_run(parent) else [p.parent for p in sorted(parent.glob("*/*/config.json"))]
    for folder in below:
        check_inside(folder)
    runs = [read_run(folder) for folder in below or [parent] if is_paper_run(folder)]
    if not runs:
        raise RunError(f"{parent} holds no run of the paper: eirnn-np paper NAME --out {parent} makes one")
    return runs


def _read_whole(path):
    """(tensors, metadata) of a checkpoint whose digest is right; ValueError, or FileNotFoundError."""
    tensors, metadata = load_tensors(path)
    if not isinstance(metadata, dict) or metadata.get("song2016") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of the paper's tasks")
    check_seal(path, tensors, metadata)
    return tensors, metadata
