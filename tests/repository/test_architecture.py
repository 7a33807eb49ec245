"""Rules for the code's structure: allowed imports, no cycles, light start."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from backend.version import VERSION

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("backend", "client.py", "proto", "scripts", "text2image", "training", "ui", "webserver")

# Where a heavy library may be imported. Everywhere else it is a mistake.
HOMES = {
    "grpc": ("backend/transport/", "proto/", "text2image/"),
    "grpc_health": ("backend/transport/", "proto/", "text2image/"),
    "grpc_reflection": ("backend/transport/",),
    "grpc_status": ("backend/transport/", "proto/", "text2image/"),
    "starlette": ("backend/transport/http/", "ui/"),
    "uvicorn": ("backend/transport/http/", "ui/connection_limits.py", "webserver/"),
    "torch": ("backend/model/", "training/"),
    "diffusers": ("backend/model/", "training/"),
    "transformers": ("backend/model/", "training/"),
    "safetensors": ("backend/model/", "training/"),
    "openvino": ("backend/model/", "training/"),
    "spandrel": ("backend/model/upscalers/",),
    "ray": ("backend/cluster/",),
    "streamlit": ("ui/",),
    "sqlalchemy": ("ui/",),
    "pydantic": (
        "backend/config.py",
        "backend/disk_cache.py",
        "backend/model_list.py",
        "backend/transport/http/",
    ),
    "pydantic_settings": ("backend/config.py",),
    "prometheus_client": ("backend/transport/",),
    "mcp": ("backend/transport/http/mcp.py", "text2image/mcp/"),
    "limits": ("backend/transport/access/", "ui/sessions/"),
    "itsdangerous": ("ui/sessions/", "ui/shared_album.py"),
    "segno": ("ui/sessions/",),
    "opentelemetry": ("backend/transport/tracing.py",),
}
# Package of ours: those of ours that it may import.
ALLOWED = {
    "backend": {"backend", "proto", "webserver"},
    "client.py": {"text2image"},
    "proto": {"proto"},
    "text2image": {"text2image", "proto"},
    "ui": {"ui", "client", "text2image", "webserver"},
    "training": {"training", "backend"},
    "webserver": {"webserver"},
}
# The tools for agents are the same on both ports; the HTTP front only passes them on.
ALSO_ALLOWED = {("backend/transport/http/mcp.py", "text2image")}
# Folder or file: what of the backend it must not import. Imports run one way.
FORBIDDEN = {
    "backend/params.py": ("backend.engine", "backend.model", "backend.transport", "proto"),
    "backend/domain.py": ("backend.engine", "backend.model", "backend.transport", "proto"),
    "backend/errors.py": ("backend.",),
    "backend/config.py": ("backend.engine", "backend.model", "backend.transport", "proto"),
    "backend/images.py": ("backend.engine", "backend.model", "backend.transport", "proto"),
    "backend/engine/": ("backend.model", "backend.transport", "proto"),
    "backend/model/": ("backend.transport", "proto"),
    "backend/transport/": ("backend.model",),
}
# Folder of backend/model/: what beside it it must not import. From checkpoints to runtimes to what
# measures them; the loader above knows them all.
MODEL_FORBIDDEN = {
    "checkpoint": ("runtime", "openvino", "measure", "choose_runtime", "loader", "pipeline"),
    "runtime": ("openvino", "measure", "choose_runtime", "loader", "pipeline"),
    "openvino": ("measure", "choose_runtime", "loader", "pipeline"),
    "measure": ("loader",),
}
MODEL_FILES = 15  # at most, on the top level of backend/model/
OURS = {"backend", "bench", "client", "proto", "tests", "text2image", "training", "ui", "webserver"}
ONLY_CONVERT = {"backend/transport/rpc/convert.py", "backend/transport/rpc/servicer.py"}


@cache
def modules() -> dict[str, frozenset[str]]:
    """Path from the root to the dotted names that the module imports."""
    return {str(path.relative_to(ROOT)): frozenset(imports(path)) for path in files()}


def files() -> Iterator[Path]:
    for source in SOURCES:
        path = ROOT / source
        yield from (path,) if path.is_file() else sorted(path.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every name imported at run time, relative ones included as they stand."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {id(node) for block in only_for_types(tree) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def only_for_types(tree: ast.Module) -> Iterator[ast.If]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node


def is_in(name: str, package: str) -> bool:
    return f"{name}.".startswith(package if package.endswith(".") else f"{package}.")


def test_there_is_something_to_check() -> None:
    assert {"backend/__main__.py", "client.py", "text2image/client.py"} <= modules().keys()
    assert "grpc" in {
        name.partition(".")[0] for name in modules()["backend/transport/rpc/server.py"]
    }


@pytest.mark.parametrize("library", HOMES)
def test_every_heavy_library_has_one_home(library: str) -> None:
    strays = [
        path
        for path, names in modules().items()
        if any(is_in(name, library) for name in names) and not path.startswith(HOMES[library])
    ]
    assert strays == []


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package: str) -> None:
    strays = [
        f"{path}: {name}"
        for path, names in modules().items()
        if path.startswith(package)
        for name in names
        if (top := name.partition(".")[0]) in OURS and top not in ALLOWED[package]
        if (path, top) not in ALSO_ALLOWED
    ]
    assert strays == []


@pytest.mark.parametrize("where", FORBIDDEN)
def test_imports_run_one_way(where: str) -> None:
    strays = [
        f"{path}: {name}"
        for path, names in modules().items()
        if path.startswith(where)
        for name in names
        if any(is_in(name, forbidden) for forbidden in FORBIDDEN[where])
    ]
    assert strays == []


@pytest.mark.parametrize("folder", MODEL_FORBIDDEN)
def test_the_folders_of_the_model_import_one_way(folder: str) -> None:
    strays = [
        f"{path}: {name}"
        for path, names in modules().items()
        if path.startswith(f"backend/model/{folder}/")
        for name in names
        if any(is_in(name, f"backend.model.{other}") for other in MODEL_FORBIDDEN[folder])
    ]
    assert strays == []


def test_the_model_stays_a_corridor_and_no_hall() -> None:
    files = [path for path in (ROOT / "backend" / "model").glob("*.py") if path.stem != "__init__"]
    assert len(files) <= MODEL_FILES


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {dotted(path): set[str]() for path in modules()}
    for path, names in modules().items():
        found = {name if name in graph else name.rpartition(".")[0] for name in names}
        graph[dotted(path)] = {name for name in found if name in graph and name != dotted(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_no_module_of_the_studio_hides_what_is_imported_by_its_name() -> None:
    """Streamlit puts its script's folder in front: `import web` would be `ui/web.py`."""
    hidden = {path.stem for path in (ROOT / "ui").iterdir() if path.stem != "__init__"}
    imported = {name.partition(".")[0] for names in modules().values() for name in names}
    assert hidden & (imported | OURS | sys.stdlib_module_names) == set()


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_the_nouns_need_the_standard_library_alone() -> None:
    for path in ("backend/domain.py", "backend/params.py", "backend/errors.py"):
        tops = {name.partition(".")[0] for name in modules()[path]} - {"backend"}
        assert tops <= sys.stdlib_module_names, path


def test_the_port_is_open_before_torch_is_imported() -> None:
    """Starting must not wait for seconds of imports."""
    script = "import sys, backend.__main__; print('torch' in sys.modules, 'ui' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", "False"]


def test_the_studio_and_the_client_need_no_torch() -> None:
    script = "import sys, client; print('torch' in sys.modules, 'backend' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", "False"]


def test_our_proto_is_found_beside_a_package_of_the_same_name(tmp_path: Path) -> None:
    """proto-plus, which ray brings, installs a top-level package `proto`."""
    stranger = tmp_path / "site-packages" / "proto"
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").write_text(
        "raise RuntimeError('the wrong proto')\n", encoding="utf-8"
    )
    script = (
        "import site, sys; site.addsitedir(sys.argv[1]); "
        "import backend.transport.rpc.convert, client, proto.text2image_pb2 as pb; "
        "print(pb.DESCRIPTOR.package, proto.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script.replace("; print", "; import proto; print"),
         str(stranger.parent)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    package, file = run.stdout.split()
    assert package == "text2image"
    assert Path(file) == ROOT / "proto" / "__init__.py"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return found["project"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    kept = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    split = [line.partition("==") for line in kept]
    assert all(sign == "==" for _, sign, _ in split), "a line is no exact version"
    return {normal(name): version for name, _, version in split}


class TestVersions:
    def test_the_version_is_told_once(self, project: dict[str, Any]) -> None:
        assert project["version"] == VERSION

    def test_constraints_hold_for_every_machine(self, pins: dict[str, str]) -> None:
        for name, version in pins.items():
            assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}: {version}"

    def test_constraints_cover_every_direct_dependency(
        self, project: dict[str, Any], pins: dict[str, str]
    ) -> None:
        assert required(project) - pins.keys() == set()

    def test_nothing_brings_torchvision(
        self, project: dict[str, Any], pins: dict[str, str]
    ) -> None:
        assert "torchvision" not in required(project) | pins.keys()

    def test_a_pin_is_within_its_range(self, project: dict[str, Any], pins: dict[str, str]) -> None:
        from packaging.requirements import Requirement

        for text in requirements(project):
            requirement = Requirement(text)
            pin = pins[normal(requirement.name)]
            assert requirement.specifier.contains(pin), f"{text}: {pin}"

    def test_the_stubs_are_generated_with_the_lowest_grpc_that_is_allowed(
        self, project: dict[str, Any]
    ) -> None:
        (lowest,) = (t for t in project["dependencies"] if t.startswith("grpcio>="))
        (tools,) = (t for t in requirements(project) if t.startswith("grpcio-tools"))
        version = tools.removeprefix("grpcio-tools==")
        assert lowest.startswith(f"grpcio>={version},")

    def test_the_studio_needs_no_torch(self, project: dict[str, Any]) -> None:
        ui = {name_of(text) for text in project["optional-dependencies"]["ui"]}
        assert not ui & {"torch", "diffusers", "transformers"}


def requirements(project: dict[str, Any]) -> list[str]:
    extras: dict[str, list[str]] = project["optional-dependencies"]
    return [*project["dependencies"], *(text for extra in extras.values() for text in extra)]


def required(project: dict[str, Any]) -> set[str]:
    return {name_of(text) for text in requirements(project)}


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return normal(found[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
