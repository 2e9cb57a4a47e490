"""Every module, and everything public in it, says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("schema", "pipelines", "preprocessors", "api", "ui", "tools")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Public functions and classes of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef) and not is_protocol(node):
                yield from ((f"{node.name}.{item.name}", item) for item in methods(node))


def methods(node: ast.ClassDef) -> Iterator[Definition]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_"):
            yield item


def promised_methods() -> set[str]:
    """Names of methods that a protocol documents: whoever implements them need not say it again."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")
    ]
    protocols = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef) and is_protocol(node)]
    return {item.name for node in protocols for item in methods(node) if ast.get_docstring(item)}


def is_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(base) for base in node.bases)


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_public_has_a_docstring(folder: str):
    missing: list[str] = []
    promised = promised_methods()
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT))
        if not ast.get_docstring(tree):
            missing.append(name)
        bare = [label for label, node in public_definitions(tree) if not ast.get_docstring(node)]
        missing += [f"{name}: {label}" for label in bare if "." not in label or label.split(".")[1] not in promised]
    assert not missing, "\n".join(["without docstring:", *missing])


def test_app_and_tests_say_what_they_are():
    paths = [ROOT / "app.py", *(path for path in (ROOT / "tests").rglob("*.py") if path.name != "__init__.py")]
    missing = [str(path) for path in paths if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not missing
