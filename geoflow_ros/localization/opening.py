"""A vehicle localizer from what a person names: a tile source, a model, a back end."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from geoflow_ros.backends import BackendOptions
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.geo import Datum
from geoflow_ros.geo.camera import Intrinsics
from geoflow_ros.inference import SearchSettings, open_localizer
from geoflow_ros.localization.patch_manager import InlineExecutor
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.localization.vehicle_cameras import OtherCamera
from geoflow_ros.localization.vehicle_localizer import VehicleLocalizer
from geoflow_ros.resources import DEFAULT_MODEL, model_path
from geoflow_ros.tiles import CacheSettings, SatelliteMap, TileSource, open_tile_source

_HALF_THE_WORLD_DEG = 180.0


@dataclass(frozen=True)
class VehicleOptions:
    """What a vehicle localizer is made of.

    Attributes:
        tiles: MBTiles file, folder or XYZ address, see `open_tile_source`; or an open source, which is closed with
            the vehicle localizer.
        datum: (latitude, longitude) of the map frame's origin, degrees; None is the centre of the tiles' bounds.
        model: a bundle's folder, or the name of a shipped one.
        backend: what runs the model.
        search: how thoroughly a patch is searched.
        seed: of the hypotheses.
        zoom: of the tiles; None takes the one whose pixels suit the model.
        cached_tiles: decoded tiles kept in memory.
        cache: where the tiles of servers are kept on disk; None keeps none.
        vehicle: settings of the vehicle.
        intrinsics: of the camera's lens; None takes it for the model's.
        others: cameras beside that one.
        prepare_in_background: make the next patch in a thread of its own. False makes the answers independent of the
            machine's speed, for replay and tests.
    """

    tiles: str | Path | TileSource
    datum: tuple[float, float] | None = None
    model: str | Path = DEFAULT_MODEL
    backend: BackendOptions = field(default_factory=BackendOptions)
    search: SearchSettings = field(default_factory=SearchSettings)
    seed: int = 0
    zoom: int | None = None
    cached_tiles: int = 256
    cache: CacheSettings | None = None
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)
    intrinsics: Intrinsics | None = None
    others: tuple[OtherCamera, ...] = ()
    prepare_in_background: bool = True


def open_vehicle_localizer(options: VehicleOptions) -> VehicleLocalizer:
    """A vehicle localizer that has answered once already, so that its first frame is not late.

    Raises:
        GeoFlowError: tiles, model, back end or settings that cannot be used, with the reason.
    """
    with ExitStack() as undo:
        # Tiles before the model: where they come late, each further attempt costs next to nothing.
        source = undo.enter_context(closing(_source(options)))
        satellite_map = SatelliteMap(source, _datum(options.datum, source), options.zoom, options.cached_tiles)
        bundle = Bundle.load(model_path(options.model))
        localizer = open_localizer(bundle, options.backend, options.seed, options.search)
        localizer.warm_up()
        undo.pop_all()
    executor = None if options.prepare_in_background else InlineExecutor()
    vehicle = VehicleLocalizer(localizer, satellite_map, options.vehicle, executor)
    vehicle.camera.calibrate(options.intrinsics)
    for other in options.others:
        vehicle.cameras.add(other)
    return vehicle


def _source(options: VehicleOptions) -> TileSource:
    if isinstance(options.tiles, str | Path):
        return open_tile_source(options.tiles, cache=options.cache)
    return options.tiles


def _datum(given: tuple[float, float] | None, source: TileSource) -> Datum:
    lat, lon = given if given is not None else (math.nan, math.nan)
    if math.isnan(lat) != math.isnan(lon):
        raise InputError("give both datum.latitude_deg and datum.longitude_deg, or neither")
    if math.isnan(lat):
        bounds = source.bounds
        if bounds.width_deg >= _HALF_THE_WORLD_DEG or bounds.west_deg > bounds.east_deg:
            spanned = "the whole world" if bounds.width_deg >= _HALF_THE_WORLD_DEG else "both sides of 180 degrees"
            raise InputError(
                f"the tiles '{source.name}' cover {spanned}: set datum.latitude_deg and datum.longitude_deg"
            )
        lat, lon = source.bounds.centre
    return Datum(lat, lon)
