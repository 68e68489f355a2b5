"""What the package's executables have in common: help, checks of the command line, and a life from start to signal.

Exit codes: 0 ended when told to, or help; 2 something that a person must give or correct (one line on standard error).
"""

from __future__ import annotations

# Nothing that takes long is imported here: a signal before `main` has taken care of signals ends in a traceback.
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from geoflow_ros.errors import GeoFlowError, InputError

if TYPE_CHECKING:
    from geoflow_ros.ros.parameter_table import ParameterSpec

SIGNAL_PERIOD_S = 0.1
"""Python sees a signal between two waits for messages: this is the longest wait, seconds."""

_COLUMNS = 110

Run = Callable[[threading.Event], int]
"""Makes a node and serves it until the event is set; returns the exit code."""


@dataclass(frozen=True)
class Executable:
    """An executable of the package.

    Attributes:
        name: what it is called.
        help_text: what `--help` prints.
        load: imports the node, which takes long, and returns what runs it.
    """

    name: str
    help_text: Callable[[], str]
    load: Callable[[], Run]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Runs it and returns its exit code.

        Args:
            arguments: the command line without the program's name; that of the process where None.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        plain = plain_arguments(given)
        if {"-h", "--help"} & {*plain}:
            print(self.help_text(), end="")
            return 0
        if plain:
            return self.complain(
                f"unknown argument '{plain[0]}': write --ros-args -p NAME:=VALUE for a parameter; see {self.name} "
                "--help"
            )
        _on_signals(_leave)
        try:
            return _serve(given, self.load)
        except GeoFlowError as error:
            return self.complain(str(error))

    def complain(self, reason: str) -> int:
        """Says what a person must give or correct, and returns the exit code for it."""
        print(f"{self.name}: {reason}", file=sys.stderr)
        return 2


def plain_arguments(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments that are not ROS's, which stand between each `--ros-args` and the next `--`."""
    plain, of_ros = [], False
    for argument in arguments:
        if of_ros:
            of_ros = argument != "--"
        elif argument == "--ros-args":
            of_ros = True
        else:
            plain.append(argument)
    return plain


def interfaces_help(title: str, described: Mapping[str, tuple[str, str]]) -> list[str]:
    """Returns the lines of `--help` about topics or services: name, and (type, purpose)."""
    return [title, *(f"  {name:<25} {kind:<40} {what}" for name, (kind, what) in described.items()), ""]


def parameters_help(specs: Mapping[str, ParameterSpec]) -> list[str]:
    """Returns the lines of `--help` about parameters."""
    from geoflow_ros.ros.parameter_files import value_text
    from geoflow_ros.ros.parameter_table import SECTIONS, section_of

    lines = ["Parameters (type, default; [allowed values; dynamic: may change while the node runs]):"]
    section = None
    for name, spec in specs.items():
        if section_of(name) != section:
            section = section_of(name)
            lines += ["", f"  {SECTIONS[section]}:"]
        lines.append(f"    {name} ({spec.type_name}, {value_text(spec)})")
        lines += textwrap.wrap(spec.remark, _COLUMNS, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


class _EndedError(BaseException):
    """Ends the process in order; no `except Exception` on the way takes it for a failure."""


def _serve(arguments: Sequence[str], load: Callable[[], Run]) -> int:
    """Imports ROS and the node, and runs it until the process is told to end."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    run = load()
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ended.is_set():  # a second signal does not disturb the end
            ended.set()
            raise _EndedError

    _on_signals(end)
    try:
        # rclpy's own handlers would take the context away from a frame that is still at work.
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has no common base for arguments that it cannot read
        reason = str(error).removeprefix("failed to initialize rcl: ").partition(", at /")[0]
        raise InputError(f"ROS does not take these arguments: {' '.join(reason.split())}") from error
    try:
        return run(ended)
    except _EndedError:
        return 0
    except Exception:
        if ended.is_set():  # something on the way made another error of it
            return 0
        raise
    finally:
        rclpy.try_shutdown()


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the process at once: while modules are imported there is nothing to put in order.

    An exception could get lost there, in a callback of the import system.
    """
    os._exit(0)
