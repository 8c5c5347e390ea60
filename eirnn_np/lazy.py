"""Front doors that open on use: a package's public names are imported when they are first asked for (PEP 562).

So `import eirnn_np`, and the command's help, wait for nothing that they do not need: Numba alone takes half a second.
What the names are and where they live stands in one place, the package's `__init__.pyi`, which type checkers and
editors read too.
"""

import importlib
import importlib.util
import pkgutil
import re
import sys


def front_door(package):
    """(__getattr__, __dir__, __all__) of a package whose .pyi has a line `from .module import name as name` for each.

    A submodule is found under its name as well, as if it had been imported.
    """
    listed = (pkgutil.get_data(package, "__init__.pyi") or b"").decode()
    home = {name: module for module, name in re.findall(r"^from (\.+\w+) import (\w+) as \2$", listed, re.M)}

    def __getattr__(name):
        if name in home:
            return getattr(importlib.import_module(home[name], package), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        module = sys.modules[package]
        return sorted({*vars(module), *home, *(found.name for found in pkgutil.iter_modules(module.__path__))})

    return __getattr__, __dir__, sorted(home)
