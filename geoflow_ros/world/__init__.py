"""A synthetic world to train and drive in: a city from one seed, its orthophoto, its camera views and drives."""

from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import Conditions
from geoflow_ros.world.drive import Drive
from geoflow_ros.world.pairs import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.splits import TOWN_SEED, Split
from geoflow_ros.world.world import World, orthophoto, write_mbtiles

__all__ = [
    "TOWN_SEED",
    "Area",
    "Camera",
    "Conditions",
    "Drive",
    "HeadingError",
    "Pair",
    "PairSampler",
    "Split",
    "World",
    "orthophoto",
    "write_mbtiles",
]
