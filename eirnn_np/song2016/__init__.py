"""Song, Yang & Wang (2016), whole: ten tasks, their networks, training to criterion, the figures as numbers.

    eirnn-np paper rdm_dense --seeds 5
    from eirnn_np import song2016
    task = song2016.task("rdm_dense")       # .config .init_params(seed) .batch(seed, k) .validation(..) .test(..) .performance(..)

docs/paper.md is the page, tasks.py the table. Nothing else of the package needs this.
"""

from .description import Catch, Stop, Structure, Task
from .tasks import TASKS, task
from .trials import Epoch, Exponential, Trials, Uniform

__all__ = ["TASKS", "Catch", "Epoch", "Exponential", "Stop", "Structure", "Task", "Trials", "Uniform", "task"]
