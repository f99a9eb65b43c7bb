"""A verb's help, and what it refuses by its arguments alone, come before anything heavy is imported."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diffshare.classifiers import recipes
from diffshare.classifiers.recipe import Recipe
from diffshare.cli import ARGUMENTS, VERBS
from diffshare.commands.options import RECIPES
from diffshare.commands.parsing import VerbParser
from diffshare.sharer.export import export

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "lightning", "diffusers", "sklearn", "pandas", "torchmetrics")
FACES = "configs/source/faces.yaml"
MIX = "mix --config configs/ddpm_faces.yaml"
STUDY = "study --config configs/study/families.yaml --out nowhere"
PROTECT = f"protect --model m --count 2 --property Hat --reference {FACES} --out o"
REPAIR = f"repair --samples diffshare --audit a --reference {FACES} --out o"
INFER = "infer-property --property Hat --samples s"
AUDIT = f"audit --samples s --reference {FACES} --target Hat"
REFUSED = {  # command to words of the refusal, of each verb
    "sample": {
        "sample": "model, count, out",
        "sample --model m --count 0 --out o": "--count is 0",
        "sample --model m --count 2 --out o --guidence 2": "--guidence",
        "sample --model m --count 2 --out diffshare": "already holds something",
        "sample --model m --count 2 --seed -1 --out o": "--seed is -1",
        "sample --model nowhere --count 2 --out o": "nowhere",
    },
    "release": {
        "release --out o": "ckpt",
        "release --ckpt c --out diffshare": "already holds something",
        "release --ckpt c --out o --declare_counts many": "declare_counts",
    },
    "mix": {
        "mix": "out, data",
        MIX: "out",
        "mix --config nowhere.yaml --out o": "no config file nowhere.yaml",
        f"{MIX} --out o --foo 3": "--foo",
        f"{MIX} --out diffshare --data.target Hat": "already holds something",
    },
    "study": {
        "study": "out, study",
        f"{STUDY} --workers many": "workers: expected int",
        f"{STUDY} --workers 0": "--workers is 0",
        f"{STUDY} --wokers 2 --study.seeds [0]": "--wokers",
    },
    "cache": {
        "cache limit": "one size",
        "cache limit 20XB": "no size",
        "cache list all": "takes no 'all'",
        "cache forget": "expected 'list'",
    },
    "configs": {
        "configs show": "configs show needs a name",
        "configs show ddpm_face": "such as ddpm_faces",
        "configs copy ddpm_faces --out diffshare": "ends with .yaml",
        "configs list --overwrite": "--overwrite is for configs copy",
    },
    "protect": {
        "protect": "model, count, property, share, reference, out",
        f"{PROTECT} --share 2": "the share to show is 2.0",
        f"{PROTECT} --share 0.5 --guide-scale 2": "--guide-scale is for --method guide",
        f"{PROTECT} --share 0.5 --folds 1": "--folds is 1",
        f"{PROTECT} --share 0.5 --guidance -1": "--guidance is -1",
    },
    "leak": {
        "leak": "leak SAMPLES_OR_MODEL --against FILE",
        "leak s": "add --against FILE",
        f"leak s --against {FACES} --level 2": "level is 2",
        f"leak s --against {FACES} --sensitive Male": "--sensitive is for a receiver's audit",
    },
    "repair": {
        "repair": "samples, audit, out",
        f"{REPAIR} --most 1": "--most is 1.0",
        f"{REPAIR} --count 5": "--count is for resample",
        f"{REPAIR} --method undo": "method",
        REPAIR: "without images, samples or a release",
    },
    "infer-property": {
        "infer-property": "property",
        INFER: "give --auxiliary FILE",
        f"{INFER} --auxiliary {FACES} --level 2": "level 2.0 is no confidence level",
        f"{INFER} --auxiliary {FACES} --guidance 2": "--guidance is for --model",
        f"{INFER} --auxiliary {FACES} --surrogate a b --surrogate-p 0.1 0.2": "an inverse regression needs 3",
        f"{INFER} --auxiliary nowhere.yaml": "no config file nowhere.yaml",
    },
    "audit": {
        "audit": "give either --model (a release folder) or --samples",
        f"audit --samples s --reference {FACES}": "name with --target",
        f"{AUDIT} --sensitive Hat": "--sensitive and --target are both 'Hat'",
        f"{AUDIT} --sensitive Male --margin -1": "--margin is -1.0",
        f"{AUDIT} --sensitive Male --steps 5": "--steps is for a model",
        f"{AUDIT} --sensitive Male --json README.md": "README.md",
        f"{AUDIT} --as sharer --sensitive Male": "--sensitive is for a receiver's audit",
    },
}
RUN = """
import json, sys
from diffshare.cli import main
codes = [main(words) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def fresh(commands: list[str]) -> tuple[list[int], list[str], str]:
    """Exit statuses of commands in one fresh interpreter, the heavy modules that are there afterwards, and stderr."""
    words = json.dumps([command.split() for command in commands])
    command = [sys.executable, "-c", RUN, words, json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    codes, heavy = json.loads(done.stdout.splitlines()[-1])
    return codes, heavy, done.stderr


@pytest.mark.parametrize("verb", REFUSED)
def test_help_and_refusals_import_nothing_heavy(verb: str) -> None:
    helps = [f"{verb} --help", f"{verb} --help-all"]
    codes, heavy, err = fresh([*helps, *REFUSED[verb]])
    assert heavy == []
    assert codes == [0, 0, *(2 for _ in REFUSED[verb])]
    lines = err.splitlines()
    assert len(lines) == len(REFUSED[verb])
    for line, words in zip(lines, REFUSED[verb].values(), strict=True):
        assert words in line


def test_every_verb_but_those_that_train_starts_light() -> None:
    assert set(VERBS) - set(REFUSED) == {"fit", "validate", "test", "predict"}


def module_of(verb: str) -> Any:
    return importlib.import_module(
        f"diffshare.commands.{ARGUMENTS.get(verb, verb.replace('-', '_'))}"
    )


def parser_of(verb: str) -> VerbParser:
    made: VerbParser = module_of(verb).parser([])
    return made


def explained(text: str) -> set[str]:
    """Flags and names of positional arguments that a help explains."""
    lines = [line.strip() for line in text.splitlines() if re.match(r"  [-{\w]", line)]
    return {
        word.rstrip(",")
        for line in lines
        for word in line.split()[: 3 if line.startswith("-") else 1]
    }


@pytest.mark.parametrize("verb", REFUSED)
def test_help_shows_what_everybody_needs(run_cli: Any, verb: str) -> None:
    parser, text = parser_of(verb), run_cli(verb, "--help").out
    first = [
        a for a in parser.first._group_actions if a.option_strings and a.default != "==SUPPRESS=="
    ]
    assert len(first) <= 10
    for action in first:
        assert action.option_strings[-1] in text
        assert action.help is not None
        assert action.help.endswith((".", "?"))
        if action.required:
            assert f"{action.help} (required)" in " ".join(text.split())
        elif action.default not in (None, []) and action.default is not False:
            assert f"{action.help} (default: {action.default})" in " ".join(text.split())
    actions = [action for group in parser._action_groups[2:] if group is not parser.first
               for action in group._group_actions]  # fmt: skip
    others = {flag for action in actions for flag in action.option_strings}
    assert not others & explained(text)
    assert ".help [CLASS" not in text
    assert ("--help-all explains the other arguments" in text) == bool(others)


@pytest.mark.parametrize("verb", REFUSED)
def test_help_all_explains_every_argument(run_cli: Any, verb: str) -> None:
    outcome = run_cli(verb, "--help-all")
    assert (outcome.code, outcome.err) == (0, "")
    assert {
        flag for action in parser_of(verb)._actions for flag in action.option_strings
    } <= explained(outcome.out)


@pytest.mark.parametrize("verb", REFUSED)
def test_the_example_of_a_verb_parses(monkeypatch: Any, tmp_path: Path, verb: str) -> None:
    monkeypatch.chdir(tmp_path)
    parser = parser_of(verb)
    text = parser.format_help()
    words = text.split("example:\n  diffshare ")[1].splitlines()[0].split()
    assert words[0] == verb
    for path in (word for word in words if word.endswith(".csv")):
        (tmp_path / path).write_text("sex,income\nman,low\nwoman,high\n")
    module_of(verb).parse(words[1:])


def test_release_takes_what_export_takes() -> None:
    parser, signature = parser_of("release"), inspect.signature(export).parameters
    for name in set(signature) - {"module", "folder"}:
        assert parser.get_default(name) == signature[name].default


def test_the_help_names_the_recipes_that_there_are() -> None:
    assert {
        kind.__name__ for kind in Recipe.__subclasses__() if kind.__module__ == recipes.__name__
    } == set(RECIPES)


def test_an_audit_of_a_table_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    cells = [("man", "no"), ("woman", "no"), ("man", "yes"), ("woman", "yes")]
    rows = "\n".join(["sex,ill", *(",".join(cells[i % 4]) for i in range(400)), ""])
    for file in (tmp_path / "own.csv", tmp_path / "samples" / "samples.csv"):
        file.write_text(rows)
    settings = {
        "path": str(tmp_path / "own.csv"),
        "columns": {"sex": ["man", "woman"], "ill": ["no", "yes"]},
    }
    source = {
        "class_path": "diffshare.data.table.CSVTable",
        "init_args": settings | {"shares": [0.0, 1.0, 0.0]},
    }
    (tmp_path / "own.yaml").write_text(json.dumps(source))
    named = f"--samples {tmp_path / 'samples'} --reference {tmp_path / 'own.yaml'} --sensitive sex --target ill"
    assert fresh([f"audit {named} --gap-repeats 0"])[:2] == ([0], [])
