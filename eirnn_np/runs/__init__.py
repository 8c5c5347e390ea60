"""Runs: what the command trains, keeps in a folder, evaluates, draws and reports."""

from ..trainer import RunError
from .evaluation import draw_run, evaluate_run, performance_lines, write_evaluation
from .folder import next_run_folder, read_run
from .settings import Settings, model_config
from .signals import Stopped
from .training import SettingError, resume, run

__all__ = [
    "RunError",
    "SettingError",
    "Settings",
    "Stopped",
    "draw_run",
    "evaluate_run",
    "model_config",
    "next_run_folder",
    "performance_lines",
    "read_run",
    "resume",
    "run",
    "write_evaluation",
]
