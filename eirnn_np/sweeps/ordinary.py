"""Networks of `eirnn-np train`, as a sweep trains them: their options, one training, and what its files say.

paper.py has the same names for those of the paper; a sweep trains one kind or the other.
"""

import contextlib
import dataclasses
import json

from .. import tasks
from ..checkpoint import CHECKPOINT, PREVIOUS
from ..config import MASKS, ModelConfig, Penalties
from ..files import read_text
from ..params import init_params
from ..runs.folder import final_loss, read_losses
from ..runs.settings import Settings, model_config, network_fields
from ..runs.training import resume, run
from ..runs.validation import BEST, CHECKS, OUTCOME
from ..tasks.batches import replay_passed
from ..trainer import Trainer

NAME, LOSS = "a run", "Loss (nats per time step)"
FILES = ("config.json", "params.safetensors", CHECKPOINT, PREVIOUS, "loss.csv", "evaluation.json", CHECKS, BEST,
         OUTCOME)  # fmt: skip
LOST = ("cannot go on", "holds no run")  # what is said of files that are broken beyond going on
_OWN = {"n_in", "n_out", *MASKS, "exc_number", "penalties"}  # fields of ModelConfig that a run takes from its task


def option_names():
    """{name: default} of every option that a sweep can set for its networks."""
    network = {f.name: f.default for f in dataclasses.fields(ModelConfig) if f.name not in _OWN} | {"n_exc": None}
    network |= {f.name: f.default for f in dataclasses.fields(Penalties)}
    return network | {f.name: getattr(Settings(), f.name) for f in dataclasses.fields(Settings)}


def split(options):
    """(Settings, {field of ModelConfig: value}) of the options of one network."""
    own = {f.name for f in dataclasses.fields(Settings)}
    settings = Settings(**{name: value for name, value in options.items() if name in own})
    return settings, {name: value for name, value in options.items() if name not in own}


def steps(options):
    """How many a network takes, at the most; ValueError for an option that is wrong by itself."""
    settings, network = split(options)
    ModelConfig(n_in=1, n_out=2, **network_fields(network))
    return settings.steps


def check_task(options, seen):
    """ValueError where the task cannot be trained. What has passed is kept in the set `seen`, and not tried again."""
    settings, network = split(options)
    key = settings.task, repr(settings.env_kwargs), network.get("dt")
    if key not in seen:
        seen.add(key)
        _, settings = model_config(settings, **network)
        tasks.check_sound(settings.task, settings.env_kwargs)


def compared(options):
    """What need not be compared with neurogym again by each worker; None where there is nothing."""
    settings, network = split(options)
    _, settings = model_config(settings, **network)
    if settings.source == "neurogym":
        return None
    return replay_passed(settings.task, settings.env_kwargs, settings.batch_size, settings.training_stream)


def warm(options):
    """Load, or compile, what networks of these options need."""
    config = ModelConfig(n_hidden=5)
    Trainer(config, init_params(config, 0, options.get("dtype", Settings.dtype)), threads=1).compile(2, 1)


def train(folder, options, on_step):
    """`run` or `resume`, with nothing printed."""
    settings, network = split(options)
    if (folder / CHECKPOINT).exists() or (folder / PREVIOUS).exists():
        resume(folder, False, _silent, on_step)
    else:
        run(settings, folder, False, _silent, on_step, **network)


def _silent(_):
    pass


def of_losses(folder):
    """The columns that follow from loss.csv."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        losses = read_losses(folder)
        return {"steps": len(losses)} | ({"final_loss": final_loss(losses)} if len(losses) else {})
    return {}


def measures(folder):
    """The columns of a row that a run folder can fill, as far as it can."""
    found: dict = of_losses(folder)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        result = json.loads(read_text(folder / "evaluation.json"))
        overall = result["performance"]
        found["accuracy"] = overall["accuracy"]
        found["accuracy_low"], found["accuracy_high"] = overall["interval_95"]
        found["accuracy_in_stream"] = result["performance_in_stream"]["accuracy"]
        found["steps_right"], found["no_choice"] = overall["steps_right"]["share"], overall["no_choice"]
        found["constant"] = overall["constant"]["accuracy"]
        found["ideal_observer"] = (result.get("ideal_observer") or {}).get("accuracy")
    with contextlib.suppress(OSError, ValueError, TypeError):
        found |= json.loads(read_text(folder / OUTCOME))
    return found
