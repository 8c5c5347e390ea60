"""The house: which module may import which. Arrows point down; what stands on one level does not import its like.

Imports inside functions count: they are arrows too. Those under TYPE_CHECKING do as well.
"""

import ast
import importlib
from pathlib import Path

import numba
import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import kernels, tasks
from eirnn_np.cli import COMMANDS as _COMMANDS
from eirnn_np.dynamics import kernels as dynamics_kernels
from eirnn_np.functions import ACTIVATIONS
from eirnn_np.kernels import arrays
from eirnn_np.song2016 import names as paper_names
from eirnn_np.song2016.folder import Plan
from eirnn_np.song2016.tasks import TASKS

PACKAGE = Path(ei.__file__).parent
COMMANDS = [name.replace("-", "_") for name in _COMMANDS]

# From the ground up. A module may import what stands on a lower level, and modules of its own wing; of two on one level
# neither may import the other, except as listed below.
LEVELS = [
    ["cache", "checks", "files", "functions", "lazy", "notices", "threads", "timestep"],
    ["jit"],
    ["noise", "kernels", "differences", "weights"],
    ["config"],
    ["params", "connectivity"],
    ["reference", "compiled", "optimisers", "transfer"],
    ["model", "dynamics"],
    ["tasks", "trainer"],
    ["algorithms", "evaluation"],
    ["analysis", "checkpoint", "gradcheck"],
    ["figures", "golden"],
    ["runs"],
    ["study", "bench", "song2016"],
    ["sweeps"],
    ["cli"],
    ["__main__"],
]
WINGS = [
    "kernels", "tasks", "dynamics", "algorithms", "analysis", "figures", "runs", "study", "bench", "song2016",
    "sweeps", "cli"
]  # fmt: skip
# Within a wing, from the ground up; its __init__ stands on top.
INSIDE = {
    "kernels": [
        "arrays",
        "tile",
        "normals",
        "losses",
        "activations",
        "optimisers",
        "units",
        "chunks",
        "groups",
        "steps",
    ],
    "tasks": [
        "tutorial",
        "seeds",
        "legacy",
        "engine",
        "installed",
        "catalogue",
        "worker",
        "own",
        "replay",
        "environments",
        "sound",
        "batches",
    ],
    "algorithms": ["names", "kernels", "equations", "seam"],
    "dynamics": ["kernels", "field", "points"],
    "analysis": ["entries", "behaviour", "choices", "population", "perturbation"],
    "figures": ["canvas", "behaviour", "network", "population", "run"],
    "runs": [
        "lines",
        "signals",
        "criterion",
        "settings",
        "evaluation",
        "folder",
        "validation",
        "training",
        "report",
        "crew",
    ],
    "sweeps": ["ordinary", "paper", "plan", "cluster", "network", "table", "pictures", "sweeping"],
    "bench": ["hardware", "work", "same_bytes", "alone", "report", "measuring"],
    "song2016": [
        "names",
        "trials",
        "description",
        "structures",
        "tasks",
        "responses",
        "folder",
        "training",
        "behaviour",
        "population",
        "measures",
        "evaluation",
        "many",
        "pictures",
        "claims",
        "paper",
        "report",
    ],
    # No command needs another.
    "cli": ["output", "parser", *COMMANDS],
}
TOP = "eirnn_np"


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name):
    """The modules of ours that a module imports, as dotted names below the package; "" is the package itself."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names if alias.name.split(".")[0] == TOP]
            found |= {target.removeprefix(TOP).removeprefix(".") for target in targets}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = package.split(".") if package else []
                base = ".".join(parts[: len(parts) - node.level + 1])
                base = ".".join(filter(None, (base, node.module)))
            elif (node.module or "").split(".")[0] == TOP:
                base = node.module.removeprefix(TOP).removeprefix(".")
            else:
                continue
            for alias in node.names:
                inner = ".".join(filter(None, (base, alias.name)))
                found.add(inner if inner in MODULES else base)
    return found - {name}


def level(name):
    wing = name.split(".")[0]
    return next(n for n, names in enumerate(LEVELS) if wing in names)


def test_every_module_has_its_place():
    tops = {name.split(".")[0] for name in MODULES if name}
    assert tops == {name for names in LEVELS for name in names}
    for wing, names in INSIDE.items():
        assert {f"{wing}.{name}" for name in names} == {name for name in MODULES if name.startswith(f"{wing}.")}


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_arrows_point_down(name):
    wing = name.split(".")[0]
    for target in imports(name):
        if target == "":  # the package's own __init__ stands on everything; only the command may ask it its version
            assert name == "cli", f"{name} imports the package itself"
        elif target.split(".")[0] == wing:
            inside = INSIDE.get(wing)
            if inside is not None and "." in name and "." in target:
                assert inside.index(target.split(".")[1]) < inside.index(name.split(".")[1]), f"{name} imports {target}"
            elif inside is not None:
                assert name == wing, f"{name} imports its own wing's front door"
        else:
            assert level(target) < level(name), f"{name} imports {target}, which does not stand below it"


def test_an_arrow_that_points_up_is_seen(monkeypatch, tmp_path):
    for source in ("from . import runs\n", "def f():\n    from .runs import run\n", "import eirnn_np.runs.training\n"):
        (tmp_path / "params.py").write_text(source)
        monkeypatch.setitem(MODULES, "params", tmp_path / "params.py")
        with pytest.raises(AssertionError, match="params imports runs"):
            test_arrows_point_down("params")


# --- What must stand twice: a kernel takes nothing from outside of its folder, and help texts import nothing ---


def test_the_flat_buffer_has_one_layout():
    config = ei.ModelConfig(n_in=3, n_hidden=7, n_out=2, e_ratio=0.6, train_x0=True)
    params = ei.Params.like(config)
    params.flat = np.arange(params.flat.size)
    sizes = config.n_in, config.n_hidden, config.n_read, config.n_out

    @numba.njit
    def found(flat):
        return [arrays.place(which, *sizes) for which in range(7)], arrays.split(flat, *sizes)

    places, views = found(params.flat)
    for (start, width), (name, array) in zip(places, params.items()):
        assert (params.flat[start], width) == (array.flat[0], array[0].size), name
    for view, (name, array) in zip(views, params.items()):
        np.testing.assert_array_equal(view, array, name)


def test_the_activations_have_one_list():
    names = tuple(ACTIVATIONS)
    assert len({getattr(kernels, name.upper()) for name in names}) == len(names)
    assert set(dynamics_kernels.NAMES) == set(names)
    assert [getattr(dynamics_kernels, name.upper()) for name in dynamics_kernels.NAMES] == list(range(len(names)))


def test_the_tutorial_has_one_time_step():
    assert tasks.default_env_kwargs(tasks.TUTORIAL_TASK, None)["dt"] == ei.ModelConfig().dt


def test_the_paper_has_one_plan():
    assert (paper_names.OMEGA, paper_names.MAX_TRIALS) == (Plan.omega, Plan.max_trials)
    assert set(paper_names.NAMES) == set(TASKS)


def test_nobody_outside_a_wing_reaches_into_another_s_private_names():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith(TOP)):
                private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name[1] != "_"]
                assert not private, f"{name} imports {private} of {node.module}"


@pytest.mark.parametrize("name", MODULES)
def test_no_module_outgrows_its_reader(name):
    assert len(MODULES[name].read_text().splitlines()) <= 450


def test_what_a_kernel_is_compiled_from_lies_in_its_folder():
    """The cache of kernels looks at the Python files of that folder."""
    compiled = [name for name in MODULES if "jit" in imports(name)]
    assert {"kernels.chunks", "tasks.engine", "algorithms.kernels"} <= set(compiled)
    for name in compiled:
        outside = {target for target in imports(name) if MODULES[target].parent != MODULES[name].parent}
        assert outside == {"jit"}, name


def test_nothing_is_kept_in_numba_s_own_cache():
    """It meets none of the cases that ours is for."""
    for name, path in MODULES.items():
        assert "cache=True" not in path.read_text(), name


@pytest.mark.parametrize("wing", ["", "tasks", "algorithms", "runs", "bench"])
def test_no_public_name_hides_a_module(wing):
    modules = {name.rpartition(".")[2] for name in MODULES if name and name.rpartition(".")[0] == wing}
    assert not modules & set(importlib.import_module(".".join(filter(None, (TOP, wing)))).__all__)


@pytest.mark.parametrize("wing", ["", "tasks", "algorithms", "runs", "bench"])
def test_a_front_door_has_what_its_list_says(wing):
    """`__init__.pyi` is all that names them: what a type checker reads is what there is."""
    package = importlib.import_module(".".join(filter(None, (TOP, wing))))
    listed = [node for node in ast.parse((PACKAGE / wing / "__init__.pyi").read_text()).body
              if isinstance(node, ast.ImportFrom)]  # fmt: skip
    names = [alias.asname for node in listed for alias in node.names]
    assert package.__all__ == sorted(names)
    assert len(set(names)) == len(names)
    for node in listed:
        home = importlib.import_module("." * node.level + node.module, package.__name__)
        for alias in node.names:
            assert alias.asname == alias.name
            assert getattr(package, alias.name) is getattr(home, alias.name)
    assert {*package.__all__, *vars(package)} <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'wombat'"):
        _ = package.wombat
    with pytest.raises(ImportError):
        exec(f"from {package.__name__} import wombat")
