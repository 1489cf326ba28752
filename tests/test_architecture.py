"""The arrows of the house, checked on the syntax tree: imports go down only, the domain is pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interfaces.event_catalogue import page

ROOT = Path(__file__).parent.parent
FLOORS = {
    "domain": {"domain"},
    "application": {"domain", "application"},
    "projections": {"domain", "projections"},
    "infrastructure": {"domain", "application", "projections", "seeds", "infrastructure"},
    "interfaces": {"domain", "application", "projections", "infrastructure", "interfaces"},
    "seeds": {"domain", "application", "seeds"},
}
OUTSIDE = {
    "domain": {"msgspec"},
    "application": {"cronsim", "msgspec", "jsonschema", "referencing", "structlog"},
    "projections": {"msgspec", "sqlalchemy", "structlog"},
    "projections/database": {"psycopg"},
    "seeds": {"msgspec", "yaml"},
}
"""Third-party packages of the floors that are not free in their choice; a folder may have more."""

OF_INFRASTRUCTURE_FOR_INTERFACES = {
    "infrastructure.wiring",
    "infrastructure.running",
    "infrastructure.settings",
}
IMPURE = {"uuid", "random", "logging", "structlog", "time", "os", "asyncio", "secrets"}
RUNNER_ONLY = {"crewai", "litellm"}
MAX_FILE, MAX_FUNCTION = 300, 50


def modules() -> list[Path]:
    return sorted(path for floor in (*FLOORS, "tests") for path in (ROOT / floor).rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def each(*floors: str) -> pytest.MarkDecorator:
    paths = [path for path in modules() if shown(path).split("/")[0] in floors]
    return pytest.mark.parametrize("path", paths, ids=shown)


@each(*FLOORS)
def test_imports_go_down_only(path: Path) -> None:
    floor = shown(path).split("/")[0]
    of_folder = OUTSIDE.get(str(Path(shown(path)).parent), set())
    for name in imports(path):
        top = name.split(".")[0]
        if top in FLOORS:
            assert top in FLOORS[floor], f"{floor} imports {name}"
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE.get(floor, {top}) | of_folder, f"{floor} imports {name}"


@each("interfaces")
def test_interfaces_know_only_the_wiring_of_infrastructure(path: Path) -> None:
    for name in imports(path):
        if name.startswith("infrastructure."):
            assert ".".join(name.split(".")[:2]) in OF_INFRASTRUCTURE_FOR_INTERFACES, name


@each("domain")
def test_the_domain_is_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("now", "utcnow", "today"), f"line {node.lineno} reads a clock"


@each(*FLOORS)
def test_crewai_and_litellm_stay_in_the_runner(path: Path) -> None:
    if {name.split(".")[0] for name in imports(path)} & RUNNER_ONLY:
        assert shown(path).startswith(("infrastructure/crew/", "infrastructure/llm/")), shown(path)


@each(*FLOORS, "tests")
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= MAX_FUNCTION, f"{node.name} has {size} lines"


@each(*FLOORS)
def test_every_module_says_what_it_does(path: Path) -> None:
    assert path.name == "__init__.py" or ast.get_docstring(tree(path))


def test_the_catalogue_of_events_is_current() -> None:
    """Mended by `kasal events catalogue > docs/events.md`."""
    assert (ROOT / "docs/events.md").read_text(encoding="utf-8") == page()


def test_the_packages_of_the_wheel_are_the_floors() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == {*FLOORS, "tests"}
