"""Song, Yang & Wang (2016), whole: ten tasks, their networks, training to criterion, the figures as numbers.

    eirnn-np paper rdm_dense --seeds 5

    from eirnn_np import song2016
    task = song2016.task("rdm_dense")
    task.config, task.init_params(seed), task.batch(seed, k), task.validation(seed, check), task.test(seed, dt=0.5)
    song2016.train(task, song2016.Plan(seed=1))

tasks.py is the table; docs/paper.md the page. Nothing else of the package needs this.
"""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
