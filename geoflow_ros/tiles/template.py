"""Tile address templates such as `https://host/{z}/{x}/{y}.png`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from geoflow_ros.errors import InputError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class TileTemplate:
    """An address with the placeholders {z}, {x} and {y}, or {-y} where rows count from the south (TMS).

    Raises:
        InputError: a placeholder is missing or unknown.
    """

    text: str

    def __post_init__(self) -> None:
        found = set(_PLACEHOLDER.findall(self.text))
        unknown = found - {"z", "x", "y", "-y"}
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in sorted(unknown))
            raise InputError(f"tile template '{self.text}' has unknown {names}; use {{z}}, {{x}} and {{y}} (or {{-y}})")
        if not ({"z", "x"} <= found and len(found & {"y", "-y"}) == 1):
            raise InputError(
                f"tile template '{self.text}' needs {{z}}, {{x}} and {{y}} (or {{-y}}), like …/{{z}}/{{x}}/{{y}}.png"
            )

    def fill(self, zoom: int, x: int, y: int) -> str:
        """Returns the address of tile (zoom, x, y), y counted from the north."""
        values = {"z": zoom, "x": x, "y": y, "-y": 2**zoom - 1 - y}
        return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), self.text)
