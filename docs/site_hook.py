"""What mkdocs does to the pages: links out of docs/ become paths, and each public name gets its place in the reference.

The pages stay plain Markdown. The names are those of the `__init__.pyi` of each package, where they live as well.
"""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File

PACKAGE = Path(__file__).parent.parent / "eirnn_np"
REFERENCE = {
    "eirnn_np": "The package",
    "eirnn_np.analysis": "Analysis",
    "eirnn_np.dynamics": "Dynamics",
    "eirnn_np.tasks": "Tasks",
}
CLASSES = ("PCA", "SGD")  # other names in capitals are constants
PICTURES = ("behaviour", "network", "population", "run")  # of figures, whose names are functions of these modules


def names(package):
    """[(name, path of its definition)] of a package's public names."""
    folder = PACKAGE.joinpath(*package.split(".")[1:])
    found = re.findall(r"^from (\.+)(\w+) import (\w+) as \3$", (folder / "__init__.pyi").read_text(), re.M)
    places = []
    for dots, module, name in found:
        base = package if len(dots) == 1 else package.rpartition(".")[0]
        places.append((name, definition(f"{base}.{module}", name)))
    return sorted(places, key=lambda place: place[0].lower())


def definition(module, name):
    """Where a name is defined: a package hands on what its own __init__.pyi lists."""
    listing = PACKAGE.joinpath(*module.split(".")[1:], "__init__.pyi")
    if listing.exists():
        home = re.search(rf"^from \.(\w+) import {name} as {name}$", listing.read_text(), re.M)
        return definition(f"{module}.{home[1]}", name)
    tree = ast.parse(PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            above = module.rsplit(".", node.level)[0]
            return definition(f"{above}.{node.module}", name)
    return f"{module}.{name}"


def pages():
    """{path: Markdown} of the reference."""
    found = {}
    for package, title in REFERENCE.items():
        directives = (f"::: {place}" for name, place in names(package) if not name.isupper() or name in CLASSES)
        found[f"reference/{package}.md"] = f"# {title}\n\n" + "\n\n".join(directives) + "\n"
    text = "\n\n".join(
        f"::: eirnn_np.figures.{module}\n    options: {{show_root_heading: false}}" for module in PICTURES
    )
    found["reference/eirnn_np.figures.md"] = f"# Figures\n\n{text}\n"
    return found


def on_config(config):
    """The menu: the pages by what stands before ", for" in their titles, then the reference."""
    titles = {path.name: path.read_text().split("\n", 1)[0].removeprefix("# ").split(", for ")[0]
              for path in sorted(Path(config.docs_dir).glob("*.md"))}  # fmt: skip
    listed = {"README.md": "Overview", "quickstart.md": "", **titles} | {"README.md": "Overview"}
    config.nav = [
        {"Pages": [{title: name} for name, title in listed.items()]},
        {"Reference": [{text.split("\n", 1)[0].removeprefix("# "): path} for path, text in pages().items()]},
    ]
    return config


def on_files(files, config):
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, **_):
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
