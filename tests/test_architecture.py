"""The shape of the code, kept by tests: one-way imports, flat folders, self-contained remote code, the public API."""

import ast
import importlib
import re
import sys
from pathlib import Path

import datasets
import pytest
from transformers import dynamic_module_utils

import nyx_hf

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["modeling", "model_cards", "data_builders", "trainer", "nyx_hf"]  # each may import those before it
SHIPPED = ("launch_configs", "recipes", "reranker_recipes", "templates")  # folders inside these
REMOTE_CODE_MAY_IMPORT = {"PIL", "numpy", "torch", "tqdm", "transformers"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """Level and module of every import in a file, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def owner(module: str) -> str | None:
    """The folder that a `nyx_hf...` module lives in."""
    if module != "nyx_hf" and not module.startswith("nyx_hf."):
        return None
    second = module.split(".")[1] if "." in module else ""
    return second if second in FOLDERS[:-1] else "nyx_hf"


def test_conftest_is_imported_once() -> None:
    """Imported by name it would run again: two HF_HOMEs in one process, remote code looked for in the wrong one."""
    for path in sources("tests"):
        assert not {"conftest", "tests.conftest"} & {module for _, module in imports(path)}, path.name
    assert str(datasets.config.HF_MODULES_CACHE) == dynamic_module_utils.HF_MODULES_CACHE


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    allowed = set(FOLDERS[: FOLDERS.index(folder) + 1])
    files = sources(folder)
    assert files, f"no source in {folder}/"
    for path in files:
        for level, module in imports(path):
            if level == 0 and (found := owner(module)) is not None:
                version_alone = module == "nyx_hf._version"  # a number, no code
                assert found in allowed or version_alone, f"{path.name} of {folder}/ imports {module}"


def test_remote_code_is_self_contained() -> None:
    for path in sources("modeling"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {id(n) for t in ast.walk(tree) if isinstance(t, ast.Try) for n in ast.walk(t)}
        for node in ast.walk(tree):
            if id(node) in guarded or not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{path.name}: only siblings can be imported in remote code"
                assert node.module and (ROOT / "modeling" / f"{node.module}.py").is_file(), (
                    f"{path.name}: {node.module}"
                )
                continue
            for name in names:
                top = name.split(".")[0]
                known = top in REMOTE_CODE_MAY_IMPORT or top in sys.stdlib_module_names
                assert known, f"{path.name} imports {name}, which a user of the Hub may not have"


def test_every_remote_file_is_reached_from_the_model_and_the_processor() -> None:
    """transformers copies only what these two import, directly or not."""
    for start in ("modeling_nyx", "processing_nyx"):
        reached, todo = set(), {start}
        while todo:
            name = todo.pop()
            reached.add(name)
            todo |= {m for level, m in imports(ROOT / "modeling" / f"{name}.py") if level == 1} - reached
        if start == "modeling_nyx":
            assert reached == {p.stem for p in sources("modeling") if p.stem != "__init__"}
        assert "configuration_nyx" in reached  # it refuses a transformers that is too old


def test_folders_are_flat_and_shadow_no_package() -> None:
    for folder in FOLDERS:
        for inner in (p for p in (ROOT / folder).iterdir() if p.is_dir() and p.name != "__pycache__"):
            assert inner.name in SHIPPED, f"{inner} would be missing from the wheel"
    for path in sources("trainer"):  # train.py runs as a script, with its folder first on the path
        if path.stem not in ("__init__", "trainer"):
            assert importlib.util.find_spec(path.stem) is None, f"trainer/{path.name} hides an installed package"


def test_files_stay_small() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for f in FOLDERS
        for p in sources(f)
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long, f"over 400 lines: is each one idea? {long}"


def test_public_names_are_the_written_list_and_load() -> None:
    documented = set(
        re.findall(r"^\| `([A-Za-z_]+)` \|", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M)
    )
    assert documented == set(nyx_hf.__all__) - {"__version__"}
    for name in nyx_hf.__all__:
        assert getattr(nyx_hf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nyxmodel'; the public names are"):
        _ = nyx_hf.Nyxmodel
