"""The shape of the house, read from the sources: rooms, sizes, and the one home of each convention."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "geoflow_ros"

ROOMS = (
    *("geo", "tiles", "bundle", "backends", "inference", "tracking", "localization", "visualization", "world", "ros"),
    *("model", "training", "export", "evaluation", "simulation", "bench", "cli"),
)
"""The rooms in their order: each imports from those before it, none from those after it."""

FOUNDATION = {
    *("arrays", "errors", "files", "images", "memory", "progress", "resources", "stamps", "stopwatch", "workers"),
}
"""Modules of the package's root that every room may use; they import each other and nothing else."""

WITHOUT_ROS = set(ROOMS[: ROOMS.index("ros")])
WITHOUT_TORCH = set(ROOMS[: ROOMS.index("ros") + 1]) | {"cli"}
ROS_MODULES = {
    *("rclpy", "rcl_interfaces", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs"),
    *("nav_msgs", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "cv_bridge"),
    "cyclonedds",
}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_TEST_FILE_LINES = 400

LONGER_THAN_ALLOWED: dict[str, str] = {}
"""`path` or `path:function` that may be longer, each with the reason."""


LOADED_ON_DEMAND = {
    "geoflow_ros.backends.torch_backend": "it runs the network itself; `backends.opening` imports it when it is chosen",
    "geoflow_ros.backends.torch_frame": "a part of the torch back end",
    "geoflow_ros.backends.torch_network": "a part of the torch back end",
    "geoflow_ros.backends.torch_runner": "it runs the network itself; `backends.runners` imports it when it is chosen",
}
"""Modules that may know torch and `model` although their room may not, each with the reason."""


def expect_none(findings: Iterable[str]) -> None:
    """Fails with one finding a line."""
    lines = sorted(findings)
    assert not lines, "\n" + "\n".join(lines)


def sources(folder: str = PACKAGE) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sources()}


def room_of(module: str) -> str:
    """The room of a module, or the name of a module of the package's root; empty for the package itself."""
    return (module.split(".") + [""])[1]


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def import_statements(module: ast.Module, *, deferred: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is loaded; with `deferred`, also those inside functions and for types."""
    pending: list[ast.AST] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        is_deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and is_type_checking(node):
            is_deferred = True
        if deferred or not is_deferred:
            pending.extend(ast.iter_child_nodes(node))


def imported_modules(path: Path, *, deferred: bool) -> set[str]:
    """Full names of what a file imports: `from a import b` gives a.b where that is a module of the package, else a."""
    found: set[str] = set()
    for statement in import_statements(tree_of(path), deferred=deferred):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            assert statement.level == 0, f"{path}:{statement.lineno}: imports name the package in full"
            base = statement.module or ""
            for alias in statement.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
    return found


def own_imports(module: str, *, deferred: bool) -> set[str]:
    return {m for m in imported_modules(MODULES[module], deferred=deferred) if m in MODULES} - {module}


def test_every_folder_of_the_package_is_a_room_and_every_root_module_is_known() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in (ROOT / PACKAGE).glob("*.py")} - {"__init__", "__main__"}
    assert folders == set(ROOMS)
    assert modules == FOUNDATION


def test_the_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "test").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - {"fakes", "golden"} == set(ROOMS)


def test_imports_point_to_earlier_rooms_only() -> None:
    order = {room: place for place, room in enumerate(ROOMS)}
    upward = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in own_imports(module, deferred=True)
        if room_of(module) in order
        and order.get(room_of(imported), -1) > order[room_of(module)]
        and not (module in LOADED_ON_DEMAND and room_of(imported) == "model")
    ]
    expect_none(upward)


def test_the_foundation_imports_no_room() -> None:
    upward = [
        f"{module} imports {imported}"
        for module in MODULES
        if room_of(module) in FOUNDATION
        for imported in own_imports(module, deferred=True)
        if room_of(imported) in ROOMS
    ]
    expect_none(upward)


def test_no_imports_form_a_circle() -> None:
    # A package's __init__ collects names from its modules, which may import the package of another room: the graph is
    # that of modules, and an import of a name from a package counts as an import of the package.
    done: set[str] = set()
    circles: list[str] = []

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            circles.append(" -> ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for imported in sorted(own_imports(module, deferred=True)):
                visit(imported, (*way, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
    expect_none(circles)


@pytest.mark.parametrize(
    ("rooms", "forbidden"), [(WITHOUT_ROS, ROS_MODULES), (WITHOUT_TORCH, {"torch"})], ids=["ROS", "torch"]
)
def test_rooms_below_do_not_load(rooms: set[str], forbidden: set[str]) -> None:
    loaded = [
        f"{module} imports {imported}"
        for module, path in MODULES.items()
        if room_of(module) in rooms | FOUNDATION and module not in LOADED_ON_DEMAND
        for imported in imported_modules(path, deferred=False)
        if imported.split(".")[0] in forbidden
    ]
    expect_none(loaded)


def test_rooms_below_the_node_do_not_know_ros_even_inside_functions() -> None:
    known = [
        f"{module} imports {imported}"
        for module, path in MODULES.items()
        if room_of(module) in WITHOUT_ROS | FOUNDATION
        for imported in imported_modules(path, deferred=True)
        if imported.split(".")[0] in ROS_MODULES
    ]
    expect_none(known)


def too_long(paths: list[Path], limit: int) -> list[str]:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return [f"{n}: {lines} lines" for n, lines in lengths.items() if lines > limit and n not in LONGER_THAN_ALLOWED]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    expect_none(too_long(sources(), MAX_FILE_LINES))


def test_no_test_file_is_longer_than_a_reader_can_hold() -> None:
    expect_none(too_long(sources("test"), MAX_TEST_FILE_LINES))


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in [*sources(), *sources("launch"), *sources("examples"), *sources("test")]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{path.relative_to(ROOT)}:{node.name}"
                if lines > MAX_FUNCTION_LINES and name not in LONGER_THAN_ALLOWED:
                    long.append(f"{name}: {lines} lines")
    expect_none(long)


def test_exceptions_to_the_lengths_are_still_needed() -> None:
    names = {entry.split(":")[0] for entry in LONGER_THAN_ALLOWED}
    assert [name for name in names if not (ROOT / name).is_file()] == []
    assert all(LONGER_THAN_ALLOWED.values())


def test_no_module_is_called_utils() -> None:
    assert [m for m in MODULES if m.split(".")[-1] in {"utils", "util", "helpers", "misc", "common"}] == []


def is_array_alias(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        value: ast.expr | None = node.value
    elif isinstance(node, ast.AnnAssign):
        value = node.value if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias" else None
    else:
        return False
    if not isinstance(value, ast.Subscript):
        return False
    name = value.value.attr if isinstance(value.value, ast.Attribute) else getattr(value.value, "id", "")
    return name in {"NDArray", "ndarray"}


def test_array_types_are_named_in_one_module() -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if path.name != "arrays.py" or path.parent.name != PACKAGE
        for node in tree_of(path).body
        if is_array_alias(node)
    ]
    expect_none(elsewhere)


def uses_of_attribute(name: str) -> set[str]:
    return {
        str(path.relative_to(ROOT / PACKAGE))
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr == name
    }


def test_pictures_are_decoded_in_one_module_and_tiles_in_another() -> None:
    assert uses_of_attribute("imdecode") == {"images.py", "tiles/raster.py"}
    assert uses_of_attribute("imread") == set()


def test_nanoseconds_are_converted_in_one_module() -> None:
    elsewhere = {
        str(path.relative_to(ROOT / PACKAGE))
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value == 1_000_000_000
    }
    expect_none(elsewhere - {"stamps.py"})
