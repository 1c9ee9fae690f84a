"""The house rules that no linter knows: sizes, depth of inheritance, what may not be in a tracked file."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "calowatch"
MODULES = sorted(SOURCE.rglob("*.py"))
CODE = [path for folder in ("src", "tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files are tracked")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions():
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, FUNCTIONS):
                yield path, node


def code_lines(path: Path, node) -> int:
    """Length of a function without its docstring, and for a verb without its signature, the list of its options."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    words = (node.body[0].end_lineno - node.body[0].lineno + 1) if body is not node.body else 0
    first = body[0].lineno if "cli" in path.parts and body else node.lineno + words
    return node.end_lineno - first + 1


def share(values, below: int) -> float:
    values = list(values)
    return sum(value < below for value in values) / len(values)


def test_files_stay_short():
    sizes = {name(path): len(path.read_text().splitlines()) for path in CODE}
    assert {path: size for path, size in sizes.items() if size > 600} == {}
    assert share(sizes.values(), 401) >= 0.9


def test_functions_stay_short():
    sizes = {f"{name(path)}:{node.name}": code_lines(path, node) for path, node in functions()}
    assert {where: size for where, size in sizes.items() if size > 80} == {}
    assert share(sizes.values(), 36) >= 0.9


def test_functions_take_few_arguments():
    many = {}
    for path, node in functions():
        own = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([argument for argument in own if argument not in ("self", "cls")])
        if count > 6 and "cli" not in path.parts:
            many[f"{name(path)}:{node.name}"] = count
    assert many == {}


def test_inheritance_is_shallow():
    bases = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }

    def depth(class_name: str) -> int:
        return 1 + max((depth(base) for base in bases[class_name] if base in bases), default=0)

    assert {one for one in bases if depth(one) > 2} == set()


def test_every_module_says_what_it_is():
    silent = [name(path) for path in MODULES if not ast.get_docstring(tree(path))]
    assert silent == []


def test_no_pickles():
    """A pickle runs whatever it holds; weights and arrays are loaded as plain numbers."""
    found = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                names = {"pickle"} if getattr(node.value, "value", True) else set()
            else:
                continue
            if names & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}:
                found.append(f"{name(path)}:{node.lineno}")
    assert found == []


def test_nothing_is_left_for_later():
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|NotImplemented" + "Error")
    left = [
        f"{name(path)}:{number}"
        for path in CODE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if marks.search(line)
    ]
    assert left == []


def test_no_room_for_odds_and_ends():
    forbidden = {"utils", "helpers", "misc", "common"}
    assert [name(path) for path in MODULES if forbidden & {*path.parts[-2:-1], path.stem}] == []


def test_tracked_files_are_small():
    large = {name(path): path.stat().st_size for path in tracked() if path.stat().st_size > 2**20}
    assert large == {}


def test_no_path_of_a_machine():
    folders = "|".join(("work", "root", "home", "Users", "tmp"))
    machine_path = re.compile(rf"(?<![\w.}}/*-])/(?:{folders})/\w")
    found = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name(path)}:{n}" for n, line in enumerate(lines, start=1) if machine_path.search(line)]
    assert found == []


def test_no_data_is_shipped():
    """Formats of detector data: tests make what they need, and read public files where a user has them."""
    data = {".root", ".h5", ".hdf5", ".npy", ".npz", ".parquet", ".pkl", ".pt", ".ckpt", ".onnx"}
    assert [name(path) for path in tracked() if path.suffix in data] == []
