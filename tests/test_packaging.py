"""What is installed from this checkout: the wheel's files, the package in it at work, and pyproject's promises."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import nyx_hf
from nyx_hf.modeling.code_nyx import code_hash

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("modeling", "model_cards", "data_builders", "trainer")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(
    line.strip().split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
UNTESTED_EXTRAS = {"vllm"}  # its wheels need a GPU build of torch; its use is tested against a stand-in
NOT_COPIED = shutil.ignore_patterns(
    ".*", "runs", "build", "dist", "docs", "tests", "__pycache__", "*.egg-info", "*_cache"
)

BUILD = """
import sys
from setuptools.build_meta import build_wheel
print("WHEEL " + build_wheel(sys.argv[1]))
"""

# Nothing of the checkout is on the path: -I leaves out the current directory and PYTHONPATH, and the unpacked wheel
# goes first, before an editable install of the checkout.
USE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import nyx_hf
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.recipe_files import find_recipe, read_recipe
from nyx_hf.trainer.tiny import make_tiny_vlm

homes = {name: importlib.import_module(module).__file__ for name, module in nyx_hf._PUBLIC.items()}
for name in nyx_hf.__all__:
    getattr(nyx_hf, name)
NyxModel.from_backbone(make_tiny_vlm(sys.argv[2])).save_pretrained(sys.argv[3])
print("REPORT " + json.dumps({
    "package": nyx_hf.__file__,
    "path": list(nyx_hf.__path__),
    "homes": homes,
    "all": nyx_hf.__all__,
    "version": nyx_hf.__version__,
    "recipe": read_recipe(find_recipe("nyx_pretrain"))["preset"],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by setuptools from a copy, so that the checkout gets no build folder."""
    root = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(ROOT, root / "checkout", ignore=NOT_COPIED)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(root)], cwd=copy, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    [name] = re.findall(r"^WHEEL (.*)$", done.stdout, re.M)
    return root / name


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected() -> set[str]:
    """The package's files, where they lie once installed."""
    files = {f"nyx_hf/{path.name}": path for path in (ROOT / "nyx_hf").glob("*.py")}
    for folder in FOLDERS:
        files |= {f"nyx_hf/{path.relative_to(ROOT)}": path for path in (ROOT / folder).rglob("*.py")}
    files |= {f"nyx_hf/{path.relative_to(ROOT)}": path for path in (ROOT / "model_cards" / "templates").glob("*.md")}
    for recipes in ("recipes", "reranker_recipes"):
        files |= {f"nyx_hf/{path.relative_to(ROOT)}": path for path in (ROOT / "trainer" / recipes).glob("*.yaml")}
    launch = [path for path in (ROOT / "trainer" / "launch_configs").iterdir() if path.suffix in (".yaml", ".json")]
    files |= {f"nyx_hf/{path.relative_to(ROOT)}": path for path in launch}
    return {*files, "nyx_hf/py.typed", "nyx_hf/published.yaml"}


class TestWheel:
    def test_it_holds_the_package_and_nothing_else(self, names: set[str]) -> None:
        wanted = expected()
        assert {"nyx_hf/modeling/modeling_nyx.py", "nyx_hf/trainer/recipes/nyx_pretrain.yaml"} <= wanted
        assert {"nyx_hf/model_cards/templates/model.md", "nyx_hf/trainer/launch_configs/zero2.json"} <= wanted
        assert {name for name in names if ".dist-info/" not in name} == wanted

    def test_files_are_the_checkout_s_own(self, wheel: Path, names: set[str]) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(expected()):
                inner = name.removeprefix("nyx_hf/")
                source = ROOT / inner if inner.startswith(FOLDERS) else ROOT / name
                assert archive.read(name) == source.read_bytes(), name

    def test_metadata(self, wheel: Path, names: set[str]) -> None:
        folder = f"nyx_hf-{nyx_hf.__version__}.dist-info"
        assert wheel.name == f"nyx_hf-{nyx_hf.__version__}-py3-none-any.whl"
        with zipfile.ZipFile(wheel) as archive:
            metadata = archive.read(f"{folder}/METADATA").decode()
            assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
            assert "nyx-hf = nyx_hf.cli:main" in archive.read(f"{folder}/entry_points.txt").decode()
        assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.11" in metadata
        assert metadata.rstrip().endswith((ROOT / "README.md").read_text(encoding="utf-8").rstrip())
        needs = {Requirement(line).name for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.M)}
        assert {Requirement(line).name for line in PROJECT["dependencies"]} <= needs

    def test_it_works_without_the_checkout(self, wheel: Path, tmp_path: Path) -> None:
        site = tmp_path / "site"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        saved = tmp_path / "saved"
        done = subprocess.run(
            [sys.executable, "-I", "-c", USE, str(site), str(tmp_path / "backbone"), str(saved)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        [line] = re.findall(r"^REPORT (.*)$", done.stdout, re.M)
        found = json.loads(line)
        assert found["path"] == [str(site / "nyx_hf")]  # the root folders of a checkout are not looked into
        assert Path(found["package"]) == site / "nyx_hf" / "__init__.py"
        assert found["all"] == nyx_hf.__all__ and found["version"] == nyx_hf.__version__
        assert set(found["homes"]) == set(nyx_hf.__all__) - {"__version__"}
        assert all(Path(home).is_relative_to(site / "nyx_hf") for home in found["homes"].values())
        assert found["recipe"] == "nyx"

        sources = {path.name: path.read_bytes() for path in (ROOT / "modeling").glob("*_nyx.py")}
        assert {path.name: path.read_bytes() for path in saved.glob("*.py")} == sources
        config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
        assert config["nyx"]["code_hash"] == code_hash(ROOT / "modeling")


class TestProject:
    @pytest.mark.parametrize("extra", ["", *sorted(PROJECT["optional-dependencies"].keys() - UNTESTED_EXTRAS)])
    def test_every_requirement_has_a_tested_version_within_its_bounds(self, extra: str) -> None:
        lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
        assert lines
        for requirement in map(Requirement, lines):
            pin = PINS.get(canonicalize_name(requirement.name))
            assert pin is not None, f"constraints.txt does not pin {requirement.name}"
            assert requirement.specifier.contains(pin), f"{requirement} refuses the tested {pin}"

    def test_version_is_written_once(self) -> None:
        assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
        text = (ROOT / "nyx_hf" / "_version.py").read_text(encoding="utf-8")
        assert f'__version__ = "{nyx_hf.__version__}"' in text
        assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", nyx_hf.__version__)

    def test_changelog_has_an_entry(self) -> None:
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## \[(.+?)\]", text, re.M)
        assert headings and headings[0] in ("Unreleased", nyx_hf.__version__)
        first = re.split(r"^## .*$", text, flags=re.M)[1]
        assert len(re.findall(r"^- ", first, re.M)) >= 1

    def test_licence_is_apache_2(self) -> None:
        text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert "Apache License" in text and "Version 2.0, January 2004" in text
        assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])

    def test_every_package_is_listed(self) -> None:
        """Packages are named one by one in pyproject: a new folder would be missing from the wheel."""
        tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
        folders = {
            init.parent.relative_to(ROOT).as_posix() for f in FOLDERS for init in (ROOT / f).rglob("__init__.py")
        }
        folders |= {
            inner.relative_to(ROOT).as_posix() for f in FOLDERS for inner in (ROOT / f).iterdir() if inner.is_dir()
        }
        folders = {folder for folder in folders if not folder.endswith("__pycache__")}
        assert set(tool["package-dir"].values()) == {*folders, "nyx_hf"}
        assert list(tool["package-dir"]) and set(tool["package-dir"]) == set(tool["packages"])
