"""Small collections of orthophotos painted for tests: a road across lawns, houses and trees, in two years."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.images import write_image

SIDE_PX, M_PER_PX = 256, 0.6
ROAD_ROW_PX, ROAD_WIDTH_PX = 128, 18  # it runs from west to east
TREES_PX = [[60.0, 100.0], [150.0, 102.0], [200.0, 160.0], [96.0, 158.0]]
HOUSE_PX = [[100, 60], [130, 60], [130, 80], [100, 80]]
MARK_PX = (140, 124)  # (x, y) of a red square of a metre or two on the road
YEARS = (2018, 2020)
SHIFT_PX = (2, -1)  # (x, y) by which the second year's photo is displaced
ATTRIBUTION = "Painted by a test"


def paint(year: int = YEARS[0], mark: bool = True) -> npt.NDArray[np.uint8]:
    """The square in a year: the same ground, other light and another placement."""
    rng = np.random.default_rng(7)
    picture = np.empty((SIDE_PX, SIDE_PX, 3), np.float32)
    picture[:] = (118, 146, 92)
    picture += cv2.resize(rng.normal(0, 10, (64, 64, 1)).astype(np.float32), (SIDE_PX, SIDE_PX))[..., None]
    top = ROAD_ROW_PX - ROAD_WIDTH_PX // 2
    picture[top : top + ROAD_WIDTH_PX] = 104
    picture[top - 3 : top] = picture[top + ROAD_WIDTH_PX : top + ROAD_WIDTH_PX + 3] = 168
    cv2.fillPoly(picture, [np.array(HOUSE_PX, np.int32)], (188, 150, 128))
    for x, y in TREES_PX:
        cv2.circle(picture, (int(x), int(y)), 5, (52, 74, 40), -1)
    if mark:
        picture[MARK_PX[1] - 1 : MARK_PX[1] + 2, MARK_PX[0] - 1 : MARK_PX[0] + 2] = (230, 30, 30)
    if year != YEARS[0]:
        picture = np.roll(picture, SHIFT_PX, axis=(1, 0)) * (0.85, 0.8, 0.9) + 10
    return np.clip(picture, 0, 255).astype(np.uint8)


def entry(city: str, number: int, year: int, **other: Any) -> dict[str, Any]:
    """What the index says of a square."""
    return {
        "file": f"images/{city}_{number}_{year}.png",
        "m_per_px": M_PER_PX,
        "city": city,
        "location": f"{city}_{number}",
        "year": year,
        "trees": TREES_PX,
        "crown_m": [3.0] * len(TREES_PX),
        "buildings": [{"polygon_px": HOUSE_PX, "height_m": 5.0}],
        **other,
    }


def collection(folder: Path, cities: tuple[str, ...] = ("aston", "chico"), places: int = 4) -> Path:
    """Writes a collection with some places in each city, each in two years; returns its folder."""
    squares = [entry(city, n, year) for city in cities for n in range(places) for year in YEARS]
    for square in squares:
        write_image(folder / square["file"], paint(square["year"]))
    index = {"attribution": ATTRIBUTION, "licence": "CC0", "squares": squares}
    (folder / "index.json").write_text(json.dumps(index))
    return folder
