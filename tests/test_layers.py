"""Who may import whom, and what must not be imported at all."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "schema": {"schema"},
    "preprocessors": {"preprocessors", "schema"},
    "pipelines": {"pipelines", "preprocessors", "schema"},
    "api": {"api", "pipelines", "schema"},
    "ui": {"ui", "pipelines", "schema"},
}
OURS = {*ALLOWED, "app", "tests", "tools"}
FORBIDDEN_LIBRARIES = {
    "schema": {"torch", "torchvision", "diffusers", "transformers", "gradio", "fastapi", "cv2"},
    "preprocessors": {"gradio", "fastapi", "diffusers"},
    "pipelines": {"gradio", "fastapi"},
    "api": {"torch", "diffusers", "transformers"},
    "ui": {"torch", "diffusers", "transformers"},
}
# Deeper modules take resolved values as arguments; these make the plan from a request and the settings.
SEE_REQUESTS_AND_SETTINGS = {"schema.requests", "schema.settings", "schema.store"}
BELOW_THE_PLAN = ("sampling", "latents", "conditioning", "adapters", "upscalers", "faces", "checkpoints")


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Modules that `path` imports; with `at_run_time` without those for type checkers only."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
        elif at_run_time and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes.extend(node.orelse)
        else:
            nodes.extend(ast.iter_child_nodes(node))


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_point_downwards(layer: str):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imports(path)
        if name.split(".")[0] in OURS - ALLOWED[layer]
    ]
    assert not wrong


@pytest.mark.parametrize("layer", FORBIDDEN_LIBRARIES)
def test_layers_leave_each_others_libraries_alone(layer: str):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imports(path, at_run_time=True)
        if name.split(".")[0] in FORBIDDEN_LIBRARIES[layer]
    ]
    assert not wrong


def test_nothing_below_the_plan_sees_requests_or_settings():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in BELOW_THE_PLAN
        for path in modules(f"pipelines/{folder}")
        for name in imports(path)
        if name in SEE_REQUESTS_AND_SETTINGS
    ]
    assert not wrong


def test_model_and_picture_folders_hold_no_python():
    tracked = [path for folder in ("models", "outputs") for path in modules(folder)]
    assert not tracked


def imported_by(*words: str) -> set[str]:
    """Top-level packages that a Python started with `words` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {name.split(".")[0] for name in lines}


def test_help_imports_nothing_that_has_to_be_installed():
    heavy = {"torch", "gradio", "diffusers", "transformers", "numpy", "PIL", "pydantic", "fastapi", "uvicorn"}
    assert not heavy & imported_by("app.py", "--help")


def test_schema_imports_without_the_engine():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules("schema")]
    loaded = imported_by("-c", "import " + ", ".join(name for name in names if not name.endswith("__init__")))
    assert not {"torch", "gradio", "diffusers", "transformers"} & loaded


def test_launcher_needs_only_the_standard_library():
    names = {name.split(".")[0] for name in imports(ROOT / "tools" / "launcher.py")}
    assert names <= {*sys.stdlib_module_names}
