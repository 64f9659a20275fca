"""House rules that a machine can check; the reasons are in CONTRIBUTING.md."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import mpcnet

ROOT = Path(__file__).parents[1]
PACKAGES = ("transports", "protocols", "mpcnet", "apps")
LONGEST = 400  # lines of a file

HIDES_NOTHING = {
    "transports/opening.py": {"random"},  # spreads the pauses between two attempts to dial
    "transports/relay.py": {"random"},  # the same, of attempts to wait at a relay
    "transports/shaper.py": {"random"},  # jitter and losses of an emulated network
}
"""Statistical generators below the apps, each with what it is for; nothing that hides a value."""


def modules(*packages: str) -> list[str]:
    """Paths of all modules, from the root of the repository."""
    files = (file for package in packages for file in (ROOT / package).rglob("*.py"))
    return sorted(str(file.relative_to(ROOT)) for file in files)


def python_files() -> list[str]:
    return modules(*PACKAGES, "tests", "tools")


def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), path)


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all modules, and of what is taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield f"{node.module}"


def dotted(node: ast.AST) -> str:
    """`torch.nn.init` for such an expression, "" for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


@pytest.mark.parametrize("path", python_files())
def test_a_file_can_be_read_at_one_sitting(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", python_files())
def test_a_file_is_named_for_what_is_in_it(path: str) -> None:
    parts = {*Path(path).with_suffix("").parts}
    assert not parts & {
        "utils",
        "util",
        "common",
        "helpers",
        "helper",
        "misc",
        "core",
        "base_utils",
    }


def test_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_tests_of_its_own(package: str) -> None:
    assert list((ROOT / "tests" / package).rglob("test_*.py"))


@pytest.mark.parametrize("path", modules(*PACKAGES))
def test_modules_say_what_is_public(path: str) -> None:
    names: set[str] = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(name for target in targets if (name := dotted(target)))
        elif isinstance(node, ast.Import | ast.ImportFrom) and path.endswith("__init__.py"):
            names.update(alias.asname or alias.name for alias in node.names)
    if any(not name.startswith("_") for name in names):
        assert "__all__" in names, "a module with names in it needs __all__"


@pytest.mark.parametrize("path", modules(*PACKAGES))
def test_what_is_called_public_exists(path: str) -> None:
    name = ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
    if name.endswith("__main__"):
        pytest.skip("importing it would run it")
    module = import_module(name)
    exported = getattr(module, "__all__", [])
    assert [name for name in exported if not hasattr(module, name)] == []
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize("path", modules(*PACKAGES))
def test_nothing_is_unpickled_or_evaluated(path: str) -> None:
    tree = tree_of(path)
    roots = {name.partition(".")[0] for name in imported(tree)}
    assert not roots & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
    called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "compile", "torch.load", "numpy.load", "np.load"}


@pytest.mark.parametrize("path", modules("transports", "protocols", "mpcnet"))
def test_no_statistical_generator_is_near_a_secret(path: str) -> None:
    tree = tree_of(path)
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= set(imported(tree))
    found = {name for name in names if _statistical(name)}
    assert not {name.partition(".")[0] for name in found} - HIDES_NOTHING.get(path, set()), found


def _statistical(name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "torch":
        return any(part.startswith(("rand", "normal", "bernoulli", "Generator")) for part in parts)
    return parts[0] == "random" or parts[:2] in (["numpy", "random"], ["np", "random"])


@pytest.mark.parametrize("path", modules(*PACKAGES))
def test_no_input_is_checked_by_an_assert(path: str) -> None:
    """Asserts vanish under `python -O`."""
    assert not [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", modules(*PACKAGES, "tools"))
def test_nothing_is_left_to_be_done(path: str) -> None:
    text = (ROOT / path).read_text()
    assert not [word for word in ("TODO", "FIXME", "XXX", "NotImplementedError") if word in text]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_whose_they_are(package: str) -> None:
    """Their names are common: another distribution may overwrite one without a word."""
    assert import_module(package).__distribution__ == "mpcnet"


def test_the_ground_floor_loads_no_tensors() -> None:
    check = "import sys, transports; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    command = [sys.executable, "-c", check]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_public_face_is_small() -> None:
    names = ["App", "Calibration", "DemoPlan", "Precision", "SecretTensor", "Session", "blocking"]
    names += ["calibrate", "debug", "fold", "from_onnx", "load", "local", "private", "reveal"]
    names += ["run", "save", "share", "share_each", "wait"]
    assert sorted(mpcnet.__all__) == names


# --- packaging ------------------------------------------------------------------------------------


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def requirements() -> list[Requirement]:
    """All that is needed to run, test and build."""
    document = project()
    table, build = document["project"], document["build-system"]
    lines = [*table["dependencies"], *build["requires"]]
    for extra in table["optional-dependencies"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    parted = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {name.strip(): Version(version) for name, _, version in parted}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_tested_version_lies_in_the_promised_range(requirement: Requirement) -> None:
    assert pins()[requirement.name] in requirement.specifier


def test_nothing_else_is_pinned() -> None:
    assert set(pins()) == {requirement.name for requirement in requirements()}


def test_the_version_stands_at_one_number() -> None:
    assert project()["project"]["version"] == mpcnet.__version__
    assert f"## {mpcnet.__version__}" in (ROOT / "CHANGELOG.md").read_text()
