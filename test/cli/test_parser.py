"""Numbers within bounds, and options that are read when their command is asked for."""

import argparse

import pytest

from geoflow_ros.cli.parser import CommandParser, Number


@pytest.mark.parametrize(
    ("number", "text", "value"),
    [
        (Number(int, at_least=1), "1", 1),
        (Number(int, at_least=0, at_most=5), "5", 5),
        (Number(float, at_least=-90, at_most=90), "-90", -90.0),
        (Number(float, above=0), "1e-9", 1e-9),
    ],
)
def test_a_number_within_its_bounds_is_taken(number: Number[int] | Number[float], text: str, value: float) -> None:
    found = number(text)
    assert found == value
    assert type(found) is number.kind


@pytest.mark.parametrize(
    ("number", "text", "reason"),
    [
        (Number(int, at_least=1), "0", "must be at least 1, not 0"),
        (Number(int, at_least=1), "1.5", "'1.5' is not a whole number"),
        (Number(float, above=0), "0", "must be above 0, not 0"),
        (Number(float, above=0), "nan", "must be above 0, not nan"),
        (Number(float, at_least=0), "inf", "must be at least 0, not inf"),
        (Number(float, at_least=0), "far", "'far' is not a number"),
        (Number(float, at_least=-90, at_most=90, unit="degrees"), "95", "must be between -90 and 90 degrees, not 95"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_them(
    number: Number[int] | Number[float], text: str, reason: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        number(text)
    assert str(refused.value) == reason


def test_only_the_command_that_is_asked_for_adds_its_options() -> None:
    added: list[str] = []

    def add_options(parser: CommandParser) -> None:
        added.append(parser.prog)
        parser.add_argument("--height", type=Number(float, above=0))

    parser = CommandParser(prog="craft")
    commands = parser.add_commands("command", "COMMAND")
    commands.add_parser("fly", add_options=add_options)
    commands.add_parser("sail", add_options=add_options)
    assert parser.parse_args(["fly", "--height", "2"]).height == 2.0
    assert added == ["craft fly"]
