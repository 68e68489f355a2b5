"""A view of the synthetic town."""

from pathlib import Path
from typing import NamedTuple


class TownView(NamedTuple):
    """A camera image in the town, and where it was taken."""

    image: Path
    lat_deg: float
    lon_deg: float
    heading_deg: float
