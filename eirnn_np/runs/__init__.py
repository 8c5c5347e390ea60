"""Runs: what the command trains, keeps in a folder, evaluates, draws and reports."""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
