"""argparse as the commands use it: options added late, one line for bad arguments, defaults told in the help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

_Number = TypeVar("_Number", int, float)

# The help's first column, in characters: most options fit beside their text.
_OPTION_COLUMN = 32


@dataclass(frozen=True)
class Number(Generic[_Number]):
    """A number within bounds, as the ``type`` of an option. Not finite numbers are refused.

    Attributes:
        kind: int or float.
        at_least, at_most: the bounds, which are allowed themselves.
        above: a lower bound that is not.
        unit: for the message, such as "degrees".
        metavar: how the help calls the value.
    """

    kind: type[_Number]
    at_least: _Number | None = None
    at_most: _Number | None = None
    above: _Number | None = None
    unit: str = ""
    metavar: str = "N"

    def __call__(self, text: str) -> _Number:
        """The number in a text.

        Raises:
            argparse.ArgumentTypeError: it is none, or is out of bounds.
        """
        try:
            value = self.kind(text)
        except ValueError:
            what = "whole number" if self.kind is int else "number"
            raise argparse.ArgumentTypeError(f"'{text}' is not a {what}") from None
        is_high_enough = (self.at_least is None or value >= self.at_least) and (
            self.above is None or value > self.above
        )
        # A not-a-number is on no side of any bound; infinity is beyond all numbers.
        if is_high_enough and value < float("inf") and (self.at_most is None or value <= self.at_most):
            return value
        raise argparse.ArgumentTypeError(f"must be {self._range()}, not {text}")

    def _range(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least} and {self.at_most}{unit}"
        if self.above is not None:
            end = "" if self.at_most is None else f" and at most {self.at_most}"
            return f"above {self.above}{end}{unit}"
        return f"at least {self.at_least}{unit}"


class CommandParser(argparse.ArgumentParser):
    """A parser of a command, or of a group of commands.

    Args:
        add_options: adds the arguments, once this parser is the one that is asked for.
        options: see `argparse.ArgumentParser`.
    """

    def __init__(self, *, add_options: Callable[[CommandParser], None] | None = None, **options: Any) -> None:
        super().__init__(formatter_class=_HelpFormatter, **options)
        self._late_options = add_options

    def add_commands(self, dest: str, metavar: str) -> argparse._SubParsersAction[CommandParser]:
        """Makes this a group of commands, one of which must be given; its name is stored as `dest`."""
        return self.add_subparsers(dest=dest, required=True, metavar=metavar, title="commands")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See `argparse.ArgumentParser`; arguments that nobody knows are complained of by the command itself."""
        if self._late_options is not None:
            self._late_options(self)
            self._late_options = None
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Answers bad arguments with one line instead of the whole usage, and ends with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _HelpFormatter(argparse.HelpFormatter):
    """Adds each option's default to its help, and calls values by their kind."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_OPTION_COLUMN)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help or ""
        default = action.default
        is_told = "default" in told or not action.option_strings
        if is_told or default is None or default is False or default in ([], argparse.SUPPRESS):
            return told
        return f"{told} (default %(default){'g' if isinstance(default, float) else 's'})"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return getattr(action.type, "metavar", "") or super()._get_default_metavar_for_optional(action)
