"""Sweeps: many networks, of `eirnn-np train` or of the paper, each in a run folder of its own; a table and pictures."""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
