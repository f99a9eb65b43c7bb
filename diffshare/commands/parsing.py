"""The parser of a verb, whose help begins with what everybody needs.

``--help`` shows the arguments of the first group and a whole command; ``--help-all`` shows all, under headings.
"""

import argparse
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter
from jsonargparse._typehints import ActionTypeHint

FIRST = "arguments that everybody needs"
IN_CONFIGS = ("data", "study")  # classes that configs name


class PlainHelp(DefaultHelpFormatter):
    """Tells of an argument what it is, whether it is required, and its default where it has one."""

    def add_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], *others: Any, **options: Any
    ) -> None:
        """The required arguments alone."""
        given = list(actions)
        # what has no default but a config's is not named
        configs = any(isinstance(a, ActionConfigFile) for a in given)
        words = ["--config CONFIG"] if configs else []
        needed = [
            a
            for a in given
            if a.required and a.option_strings and not (configs and a.dest in IN_CONFIGS)
        ]
        words += [f"{a.option_strings[-1]} {a.dest.upper()}" for a in needed]
        words += ["[options]", *(f"[{a.dest}]" for a in given if not a.option_strings)]
        super().add_usage(" ".join(["%(prog)s", *words]), given, *others, **options)

    def _get_help_string(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._HelpAction) or action.default == argparse.SUPPRESS:
            return super()._get_help_string(action)
        notes = []
        if action.required:
            notes.append("required")
        elif action.default not in (None, []) and action.default is not False:
            notes.append("default: %(default)s")
        if isinstance(action, ActionTypeHint) and (
            classes := action.extra_help().removeprefix(", ")
        ):
            notes.append(classes)
        return (action.help or "") + (f" ({', '.join(notes)})" if notes else "")


class _HelpAll(argparse._HelpAction):
    """``--help-all``."""

    def __call__(self, parser: Any, *given: object, **options: object) -> None:
        parser.everything = True
        parser.print_help()
        parser.exit()


class VerbParser(ArgumentParser):
    """A parser of one verb; made by :func:`verb_parser`.

    Attributes:
        first: the group of the arguments that ``--help`` shows.
        example: words of a whole command, without the verb.
        everything: help shows all groups. It is so of the parsers that jsonargparse makes for classes.
    """

    first: Any = None
    example: Sequence[str] = ()
    everything = True

    def format_help(self, *given: Any) -> str:
        """The help, as a text."""
        if self.first is None:
            return super().format_help(*given)
        groups, actions = self._action_groups, self.first._group_actions
        if self.everything:  # argparse's own groups, with --help, come last
            self._action_groups = [*groups[2:], *groups[:2]]
        else:  # without --NAME.help, which jsonargparse adds for each class
            self._action_groups = [self.first]
            self.first._group_actions = [
                action for action in actions if action.default != argparse.SUPPRESS
            ]
        try:
            text = super().format_help(*given)
        finally:
            self._action_groups, self.first._group_actions = groups, actions
        lines = [
            text,
            "example:",
            f"  {self.prog} {' '.join(self.example)}",
        ]
        more = [str(group.title) for group in groups[2:] if group is not self.first]
        if more and not self.everything:
            lines += ["", f"--help-all explains the other arguments: {'; '.join(more)}"]
        return "\n".join([*lines, ""])


def verb_parser(verb: str, description: str, example: str) -> VerbParser:
    """A parser whose ``first`` group takes the arguments that everybody needs.

    Args:
        verb: its name.
        description: what it does.
        example: words of a whole command, without the verb.
    """
    parser = VerbParser(
        prog=f"diffshare {verb}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=PlainHelp,
    )
    parser.add_argument("--help-all", action=_HelpAll, help="Show all arguments and exit.")
    parser.first = parser.add_argument_group(FIRST)
    parser.example, parser.everything = example.split(), False
    return parser


def add_class(
    parser: VerbParser, name: str, base: type | None, arguments: Sequence[str], help: str
) -> None:
    """Add an argument that names a class and its settings, which a config has as well.

    Args:
        parser: of the verb.
        name: of the argument, without ``--``.
        base: what the class must be a subclass of. None: a plain value that nothing is imported for; what
            :func:`without` takes out of ``arguments`` is then not asked for.
        arguments: of the command line.
        help: what it is.
    """
    if base is None:
        given = len(without(arguments, (name,))) < len(arguments)
        # typed, it would import the class
        parser.first.add_argument(f"--{name}", required=not given, help=help)
    else:
        parser.add_subclass_arguments(base, name, required=True)


def without(arguments: Sequence[str], names: Collection[str]) -> list[str]:
    """The arguments without ``--NAME``, ``--NAME.KEY`` and their values, for each of these names."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip and not argument.startswith("--"):
            skip = False
        elif argument.startswith("--") and argument[2:].split("=")[0].split(".")[0] in names:
            skip = "=" not in argument
        else:
            kept.append(argument)
            skip = False
    return kept
