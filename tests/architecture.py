"""The rules of the tree, checked on its source text."""

from __future__ import annotations

import ast
import itertools
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


RANKS = (
    ("errors", "homes", "tasks"),
    ("types",),
    ("protocols",),
    ("stream",),
    ("net", "proc"),
    ("io", "asr", "analysis", "jobs", "progress"),
    ("pipeline",),
    ("corpus",),
    ("testing", "servers"),
)
"""The rooms, lowest first. A room may import from lower ones only."""

IMPURE = {
    "anyio",
    "asyncio",
    "datetime",
    "httpx",
    "os",
    "pathlib",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "trio",
}
"""What ``stream`` must not know."""

MAX_LINES = 400

_RANK_OF = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}


def violations(package: Path) -> list[str]:
    """Give every broken rule in a package as a sentence."""
    sources = {_name(path, package): path for path in sorted(package.rglob("*.py"))}
    trees = {
        name: ast.parse(path.read_text("utf-8"), str(path))
        for name, path in sources.items()
    }
    graph = {
        name: {_module(target, trees) for target in _imports(tree, package.name)}
        for name, tree in trees.items()
        if name != package.name  # the public list knows everybody
    }
    return [
        *itertools.chain.from_iterable(
            _layer_faults(name, targets) for name, targets in graph.items()
        ),
        *_cycle_faults(graph),
        *itertools.chain.from_iterable(
            _purity_faults(name, tree)
            for name, tree in trees.items()
            if _room(name) == "stream"
        ),
        *_file_faults(sources),
    ]


def _name(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def _imports(tree: ast.Module, package: str) -> set[str]:
    """Give all imports from the package, those inside functions counted."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add(f"{package}.relative_import")
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == package}


def _module(target: str, trees: dict[str, ast.Module]) -> str:
    """Give the module an imported name lives in."""
    return target if target in trees else target.rpartition(".")[0]


def _layer_faults(name: str, targets: set[str]) -> list[str]:
    own = _room(name)
    faults = [] if own in _RANK_OF else [f"{name}: no such room is drawn"]
    for target in sorted(targets):
        room = _room(target)
        if room == own:
            continue
        if room not in _RANK_OF:
            faults.append(f"{name} imports {target}, not the module that has it")
        elif _RANK_OF.get(own, -1) <= _RANK_OF[room]:
            faults.append(f"{name} imports {target}, which is not below it")
    return faults


def _cycle_faults(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()
    faults: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            faults.append("cycle: " + " -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            # A package's own list imports its modules; that they lie in it is no edge.
            for target in sorted(graph.get(name, set()) - {name}):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return faults


def _purity_faults(name: str, tree: ast.Module) -> list[str]:
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            faults.append(f"{name}: async def {node.name}")
        elif isinstance(node, ast.Import):
            faults += [
                f"{name}: import {alias.name}"
                for alias in node.names
                if alias.name.split(".")[0] in IMPURE
            ]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in IMPURE:
                faults.append(f"{name}: import {node.module}")
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open":
            faults.append(f"{name}: open()")
    return faults


def _file_faults(sources: dict[str, Path]) -> list[str]:
    faults = []
    for name, path in sources.items():
        lines = len(path.read_text("utf-8").splitlines())
        # The public list grows with what is public.
        if lines > MAX_LINES and "." in name:
            faults.append(f"{name}: {lines} lines are two files")
        if path.stem in {"utils", "helpers", "common", "misc"}:
            faults.append(f"{name}: a name that says nothing")
    return faults
