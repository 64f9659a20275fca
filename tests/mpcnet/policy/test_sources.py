"""What a digest of a program's source covers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from mpcnet.errors import AppError
from mpcnet.policy.sources import digest_of, package_sources, script_sources
from mpcnet.script import Script


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script with a module and a package beside it, and a module that it does not use."""
    (tmp_path / "parts").mkdir()
    for name, text in {
        "wages.py": "import torch\nfrom parts.sums import total\nimport rates\n",
        "rates.py": "from math import pi\n",
        "parts/__init__.py": "",
        "parts/sums.py": "from .deeper import x\ntotal = x\n",
        "parts/deeper.py": "x = 1\n",
        "other.py": "y = 2\n",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path / "wages.py"


def test_modules_beside_a_script_count(script: Path) -> None:
    names = [str(path.relative_to(script.parent)) for path in script_sources(script)]
    assert names == [
        "parts/__init__.py",
        "parts/deeper.py",
        "parts/sums.py",
        "rates.py",
        "wages.py",
    ]


def edit(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b" ")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (edit("wages.py"), True),
        (edit("rates.py"), True),
        (edit("parts/deeper.py"), True),
        (edit("other.py"), False),
        (lambda folder: (folder / "parts/deeper.py").rename(folder / "parts/deep.py"), True),
    ],
    ids=["script", "module", "package", "unused", "renamed"],
)
def test_one_byte_makes_another_digest(
    script: Path, change: Callable[[Path], object], differs: bool
) -> None:
    before = digest_of(script_sources(script))
    change(script.parent)
    assert (digest_of(script_sources(script)) != before) == differs


def test_where_the_folder_is_does_not_matter(script: Path) -> None:
    before = digest_of(script_sources(script))
    moved = script.parent.rename(script.parent.with_name("elsewhere"))
    assert digest_of(script_sources(moved / "wages.py")) == before


def test_an_app_counts_with_its_package() -> None:
    names = {path.name for path in package_sources(Script)}
    assert {"script.py", "session.py", "guard.py"} <= names


def test_an_app_counts_with_what_it_imports_around_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "outermost/__init__.py": "",
        "outermost/shared.py": "from outermost.other import x\n",
        "outermost/other/__init__.py": "from .deeper import x\n",
        "outermost/other/deeper.py": "import json\nx = 1\n",
        "outermost/other/unused.py": "",
        "outermost/app/__init__.py": "from .. import shared\nclass App: pass\n",
        "outermost/app/more.py": "",
        "json.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    app = import_module("outermost.app").App
    found = [str(path.relative_to(tmp_path / "outermost")) for path in package_sources(app)]
    assert found == [
        "__init__.py",
        "app/__init__.py",
        "app/more.py",
        "other/__init__.py",
        "other/deeper.py",
        "shared.py",
    ]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:\n")
    with pytest.raises(AppError, match=r"bad\.py is no Python script"):
        script_sources(tmp_path / "bad.py")
    with pytest.raises(AppError, match=r"none\.py: No such file"):
        script_sources(tmp_path / "none.py")
