"""The rules that hold for every module of the package: which way imports run, and what is never loaded.

Both checkers take a folder, so that the tests at the end can show them a tree that breaks each rule.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A module imports from its own line and those above it.
LAYERS = (
    (
        "terminal",
        "errors",
        "signals",
        "locks",
        "received",
        "classes",
        "settings",
        "layout",
        "leftovers",
        "storage",
        "claim",
        "packaged",
        "progress",
        "provenance",
        "batch",
        "stats",
    ),
    ("nets",),
    ("release",),
    ("data",),
    ("training",),
    ("classifiers",),
    ("generators",),
    ("sharer", "receiver"),
    ("audits",),
    ("study",),
    ("commands",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
STRANGERS = {("sharer", "receiver"), ("receiver", "sharer")}  # the two sides of the boundary

UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Calls that unpickle unless told otherwise; Lightning's reads weights_only=None from a URL as False.
LOADERS = {"torch.load", "load_from_checkpoint"}


def modules(root: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    """Every Python file below ``root``, the package that it is in (dotted), its syntax tree."""
    for path in sorted(root.rglob("*.py")):
        package = ".".join(path.parent.relative_to(root.parent).parts)
        yield path, package, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or an attribute; what is neither becomes ``?``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all that is imported, inside functions too.

    Args:
        tree: the module.
        package: the package that relative imports start from.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in {
            "import_module",
            "__import__",
        }:
            yield from (
                (node.lineno, str(arg.value))
                for arg in node.args[:1]
                if isinstance(arg, ast.Constant)
            )


def layer_violations(root: Path) -> list[str]:
    """Imports against the order of ``LAYERS`` in the package folder ``root``, and ``__init__`` files that do work."""
    found = []
    for path, package, tree in modules(root):
        place = path.relative_to(root).with_suffix("").parts
        if path.name == "__init__.py":
            found += [
                f"{path}: {why}" for why in init_violations(tree, package, top=len(place) == 1)
            ]
        if "utils" in place:
            found.append(f"{path}: a drawer called utils; name the module for what it holds")
        own = place[0]
        if own not in RANK and own != "__init__":
            found.append(f"{path}: {own} has no layer; give it a place in LAYERS")
            continue
        for line, name in imports(tree, package):
            head, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if head != root.name or other not in RANK or own == "__init__":
                continue
            if RANK[other] > RANK[own] or (own, other) in STRANGERS:
                found.append(f"{path}:{line}: {own} imports {other}")
    return found


def init_violations(tree: ast.Module, package: str, *, top: bool) -> Iterator[str]:
    """What an ``__init__`` does beyond a docstring; the top one may set names and use the standard library.

    It may also import for type checkers alone, and what a name of the face needs when that is asked for.
    """
    if top:
        tree = ast.Module([node for node in tree.body if not _is_for_checkers(node)], [])
    for line, name in imports(tree, package):
        if not top or name.split(".")[0] not in sys.stdlib_module_names:
            yield f"line {line}: __init__ imports {name}"
    is_docstring = [
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body
    ]
    if not top and not all(is_docstring):
        yield "__init__ has content"


def _is_for_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"


ABOVE = {"commands", "cli", "terminal"}  # who may parse, print and end the process
BUILDERS = {  # what reads configs with a parser of its own, and keeps the command in a run's record
    "receiver/meta/shadows.py": {"Namespace"},
    "study/engine/configs.py": {"Namespace"},
    "study/engine/worker.py": {"SystemExit"},  # a process of its own
    "study/steps/verbs.py": {"sys.exit"},  # of that process, with the status of a verb
    "training/run.py": {"sys.argv"},
}


def command_line_violations(root: Path) -> list[str]:
    """Where a module below ``commands`` prints, takes a parsed command line or ends the process."""
    found = []
    for path, _, tree in modules(root):
        place = path.relative_to(root)
        if place.with_suffix("").parts[0] in ABOVE:
            continue
        allowed = BUILDERS.get(place.as_posix(), set())
        for node in ast.walk(tree):
            name = dotted(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if (
                name
                in {"print", "sys.argv", "sys.exit", "SystemExit", "Namespace", "exit"} - allowed
            ):
                found.append(f"{path}:{node.lineno}: {name}")
    return found


def safety_violations(root: Path) -> list[str]:
    """Ways below ``root`` in which loading a file could run code, and imports of what is no dependency."""
    found = []
    for path, package, tree in modules(root):
        for line, name in imports(tree, package):
            if name.split(".")[0] in UNPICKLERS | {"torchvision"} or name in LOADERS:
                found.append(f"{path}:{line}: imports {name}")
        aliases = {
            alias.asname: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.asname
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found += [f"{path}:{node.lineno}: {why}" for why in call_violations(node, aliases)]
    return found


def call_violations(call: ast.Call, aliases: dict[str, str]) -> Iterator[str]:
    """What is unsafe in one call."""
    name = dotted(call.func)
    head, _, rest = name.partition(".")
    full = f"{aliases.get(head, head)}.{rest}"
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    weights_only = given.get("weights_only")
    literal = weights_only.value if isinstance(weights_only, ast.Constant) else None
    if (full in LOADERS or name.split(".")[-1] in LOADERS) and literal is not True:
        yield f"{name} without weights_only=True"
    elif weights_only is not None and literal is False:
        yield f"{name} with weights_only=False"
    allow_pickle = given.get("allow_pickle")
    if allow_pickle is not None and not (
        isinstance(allow_pickle, ast.Constant) and allow_pickle.value is False
    ):
        yield f"{name} with allow_pickle"


def test_imports_run_one_way():
    assert layer_violations(ROOT / "diffshare") == []


def test_no_library_function_parses_prints_or_exits():
    assert command_line_violations(ROOT / "diffshare") == []


@pytest.mark.parametrize(
    "text",
    ["print('x')", "import sys\nsys.exit(2)", "raise SystemExit(2)", "def f(c: Namespace): ..."],
)
def test_the_rule_of_the_command_line_bites(tmp_path, text):
    assert command_line_violations(write(tmp_path, GOOD)) == []
    assert len(command_line_violations(write(tmp_path, GOOD | {"data/bad.py": text}))) == 1


@pytest.mark.parametrize("folder", ["diffshare", "scripts"])
def test_nothing_is_unpickled(folder):
    assert safety_violations(ROOT / folder) == []


def write(root: Path, files: dict[str, str]) -> Path:
    """A package folder ``root / fake`` with these files."""
    for name, text in files.items():
        path = root / "fake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "fake"


GOOD = {
    "__init__.py": '"""Doc."""\nimport os\n__version__ = "1"\nif TYPE_CHECKING:\n    import fake.errors\n',
    "errors.py": "",
    "data/__init__.py": '"""Only a docstring."""\n',
    "data/source.py": "import fake\nfrom fake import errors, __version__\nfrom fake.nets.a import b\nimport np.utils\n",
    "sharer/mix.py": "from fake.data.source import x\nfrom . import other\nfrom ..data import source\nimport sharers\n",
    "cli.py": "import torch\nimport fake.audit.report\ntorch.load('x', weights_only=True)\nopen('receiver')\n",
}


def test_a_good_tree_passes(tmp_path):
    root = write(tmp_path, GOOD)
    assert layer_violations(root) == []
    assert safety_violations(root) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("data/bad.py", "from fake.sharer.mix import Mix", "data imports sharer"),
        ("data/bad.py", "import fake.sharer.mix as m", "data imports sharer"),
        ("data/bad.py", "from fake import training", "data imports training"),
        ("data/bad.py", "from .. import cli", "data imports cli"),
        ("data/deep/bad.py", "from ...generators.ddpm import x", "data imports generators"),
        (
            "stats/bad.py",
            "def f():\n    if True:\n        from fake.nets import x",
            "stats imports nets",
        ),
        (
            "stats/bad.py",
            "import importlib\nimportlib.import_module('fake.data.x')",
            "stats imports data",
        ),
        ("sharer/bad.py", "from fake.receiver.sampling import x", "sharer imports receiver"),
        ("receiver/bad.py", "from ..sharer import mix", "receiver imports sharer"),
        ("errors.py", "import fake.nets", "errors imports nets"),
        ("extra.py", "", "extra has no layer"),
        ("nets/utils.py", "", "drawer called utils"),
        ("data/utils/x.py", "", "drawer called utils"),
        ("__init__.py", "import torch", "__init__ imports torch"),
        ("__init__.py", "if True:\n    import torch", "__init__ imports torch"),
        ("__init__.py", "from fake.cli import main", "__init__ imports fake.cli.main"),
        (
            "data/__init__.py",
            "from .source import Source",
            "__init__ imports fake.data.source.Source",
        ),
        ("data/__init__.py", "x = 1", "__init__ has content"),
    ],
)
def test_each_layer_rule_bites(tmp_path, name, text, expected):
    found = layer_violations(write(tmp_path, GOOD | {name: text}))
    assert len([line for line in found if expected in line]) == 1, found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pickle", "imports pickle"),
        ("def f():\n    from cloudpickle import loads", "imports cloudpickle.loads"),
        ("__import__('pickle')", "imports pickle"),
        ("from torchvision.transforms import Resize", "imports torchvision"),
        ("from torch import load", "imports torch.load"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("import torch as t\nt.load('x')", "t.load without weights_only=True"),
        (
            "import torch\ntorch.load('x', weights_only=flag)",
            "torch.load without weights_only=True",
        ),
        ("import torch\ntorch.load('x', **options)", "torch.load without weights_only=True"),
        (
            "import torch\ntorch.load('x', weights_only=False)",
            "torch.load without weights_only=True",
        ),
        ("Model().load_from_checkpoint('x')", "load_from_checkpoint without weights_only=True"),
        ("trainer.fit(m, weights_only=False)", "trainer.fit with weights_only=False"),
        ("np.load('x', allow_pickle=True)", "np.load with allow_pickle"),
    ],
)
def test_each_safety_rule_bites(tmp_path, text, expected):
    found = safety_violations(write(tmp_path, GOOD | {"data/bad.py": text}))
    assert len(found) == 1, found
    assert expected in found[0]
