"""Maps that others' tools wrote: GDAL (by rasterio) and the tools of PMTiles, where they are installed."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes.answering_server import Answer, AnsweringServer
from fakes.map import write_map

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import InputError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, PatchFrame, tile_at
from geoflow_ros.tiles import MBTilesSource, NoGround, SatelliteMap, SatellitePatch, TileSource, open_tile_source

DATUM = Datum(49.01, 8.40)
RESOLUTION_M, SIDE_PX = 0.2, 1500
FRAME = PatchFrame(30.0, 20.0, 0.5, 512, 0.1958)


def picture() -> UInt8Array:
    """A photo of nowhere, without black; its north-western corner is empty, as at the end of a flight strip."""
    cells = np.random.default_rng(0).integers(40, 255, (150, 150, 3)).astype(np.uint8)
    pixels = np.asarray(cv2.resize(cells, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR), np.uint8)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    pixels[rows + columns < 900] = 0
    return pixels


def photo(path: Path, crs: str = "EPSG:32632", **settings: Any) -> Path:
    """A GeoTIFF of the picture around DATUM, by GDAL."""
    rasterio = pytest.importorskip("rasterio", reason="rasterio (extra `geotiff`) is not installed")
    from rasterio.transform import from_bounds
    from rasterio.warp import transform

    (x,), (y,) = transform("EPSG:4326", crs, [DATUM.lon_deg], [DATUM.lat_deg])
    half = SIDE_PX * RESOLUTION_M / 2 * SCALES[crs]
    bands = np.moveaxis(picture(), -1, 0)
    profile = {
        "driver": "GTiff",
        "width": SIDE_PX,
        "height": SIDE_PX,
        "count": 3,
        "dtype": "uint8",
        "crs": crs,
        "nodata": 0,
        "transform": from_bounds(x - half, y - half, x + half, y + half, SIDE_PX, SIDE_PX),
        **settings,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands.astype(profile["dtype"])[: profile["count"]])
    return path


def converted(photo_path: Path, path: Path, **options: str) -> Path:
    """What GDAL makes of a photo: gdal_translate."""
    from rasterio.shutil import copy

    copy(photo_path, path, **options)
    return path


def patch_of(source: TileSource, frame: PatchFrame = FRAME) -> SatellitePatch:
    with SatelliteMap(source, DATUM) as satellite_map:
        return satellite_map.patch(frame)


def difference(a: SatellitePatch, b: SatellitePatch) -> float:
    return float(np.abs(a.pixels.astype(int) - b.pixels).mean())


def difference_to_truth(patch: SatellitePatch, crs: str) -> float:
    """Mean difference to the picture itself, looked up pixel by pixel through the formulas of PROJ."""
    from rasterio.warp import transform

    size = patch.frame.size_px
    columns, rows = np.meshgrid(np.arange(size), np.arange(size))
    enu = patch.frame.to_enu(np.stack([columns, rows], -1).reshape(-1, 2).astype(float))
    lats, lons = DATUM.to_latlon(enu[:, 0], enu[:, 1])
    xs, ys = transform("EPSG:4326", crs, list(lons), list(lats))
    (x,), (y,) = transform("EPSG:4326", crs, [DATUM.lon_deg], [DATUM.lat_deg])
    step = RESOLUTION_M * SCALES[crs]
    column = ((np.array(xs) - x) / step + SIDE_PX / 2 - 0.5).reshape(size, size).astype(np.float32)
    row = ((y - np.array(ys)) / step + SIDE_PX / 2 - 0.5).reshape(size, size).astype(np.float32)
    truth = cv2.remap(picture(), column, row, cv2.INTER_LINEAR)
    return float(np.abs(truth.astype(int) - patch.pixels).mean())


UPPER, FINE = {"ZOOM_LEVEL_STRATEGY": "UPPER"}, {"QUALITY": "95"}
SCALES = {"EPSG:32632": 1.0, "EPSG:3857": float(1.0 / np.cos(np.radians(49.01)))}
CORNER = PatchFrame(-60.0, 60.0, 0.3, 512, 0.1958)


@pytest.fixture
def town_map(tmp_path: Path) -> Path:
    return write_map(tmp_path / "original.mbtiles")


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3857"])
def test_a_geotiff_of_any_system_shows_its_ground_at_its_place(tmp_path: Path, crs: str) -> None:
    source = open_tile_source(photo(tmp_path / "photo.tif", crs, tiled=True))
    assert source.bounds.contains(*DATUM.to_latlon(140.0, -140.0))
    assert not source.bounds.contains(*DATUM.to_latlon(200.0, 0.0))
    patch = patch_of(source)
    assert patch.ground_share == 1.0
    assert difference_to_truth(patch, crs) < 4.0
    empty = patch_of(source, CORNER)
    assert NoGround.TRANSPARENT in empty.shares_without_ground
    assert 0.2 < empty.ground_share < 0.9
    with pytest.raises(TileMissingError):
        source.read(source.max_zoom, *tile_at(50.0, 9.0, source.max_zoom))
    source.close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cog.tif", {"driver": "COG", "COMPRESS": "JPEG", "QUALITY": "95"}),
        ("png.mbtiles", {"driver": "MBTiles", "TILE_FORMAT": "PNG", **UPPER}),
        ("jpg.mbtiles", {"driver": "MBTiles", "TILE_FORMAT": "JPEG", **FINE, **UPPER}),
        ("webp.mbtiles", {"driver": "MBTiles", "TILE_FORMAT": "WEBP", **FINE, **UPPER}),
        (
            "512.mbtiles",
            {"driver": "MBTiles", "TILE_FORMAT": "PNG", "BLOCKSIZE": "512", **UPPER},
        ),
        ("map.gpkg", {"driver": "GPKG", "TILING_SCHEME": "GoogleMapsCompatible"}),
    ],
)
def test_what_gdal_makes_of_a_photo_shows_the_same_ground(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    original = photo(tmp_path / "photo.tif")
    made = converted(original, tmp_path / name, **options)
    source = open_tile_source(made)
    patch = patch_of(source)
    assert patch.ground_share == 1.0
    assert difference(patch, patch_of(open_tile_source(original))) < 5.0
    assert source.max_zoom == (18 if "512" in name else 19)
    assert 0.2 < patch_of(source, CORNER).ground_share < 0.9
    assert getattr(source, "notes", ()) == ()
    source.close()


def test_pictures_that_cannot_be_used_are_refused_with_the_command_that_mends_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"float32 pixels; .*gdal_translate -ot Byte -scale"):
        open_tile_source(photo(tmp_path / "real.tif", dtype="float32"))
    nowhere = photo(tmp_path / "nowhere.tif", crs="EPSG:32632")
    import rasterio

    with rasterio.open(nowhere) as file:
        profile, bands = {**file.profile, "crs": None}, file.read()
    with rasterio.open(tmp_path / "no_crs.tif", "w", **profile) as file:
        file.write(bands)
    with pytest.raises(InputError, match=r"no coordinate system: .*gdal_edit.py -a_srs"):
        open_tile_source(tmp_path / "no_crs.tif")
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(TileSourceUnavailableError, match="cannot be opened"):
        open_tile_source(tmp_path / "text.tif")
    with pytest.raises(TileSourceUnavailableError, match="is not there"):
        open_tile_source(tmp_path / "absent.tif")


def test_grey_and_palette_photos_keep_their_colours(tmp_path: Path) -> None:
    grey = patch_of(open_tile_source(photo(tmp_path / "grey.tif", count=1))).pixels
    assert (grey[..., 0] == grey[..., 2]).all()
    rasterio = pytest.importorskip("rasterio")
    path = photo(tmp_path / "palette.tif", count=1, photometric="PALETTE")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (255 - i, i, 7, 255) for i in range(256)})
    patch = patch_of(open_tile_source(path)).pixels.astype(int)
    assert np.abs(patch[..., 0] + patch[..., 1] - 255).max() <= 2
    assert (patch[..., 2] == 7).all()


def deep_photo(path: Path, low: int, gain: int) -> Path:
    """The picture with 16 bits: its levels 40 to 254 lie at low + gain times that; a few glints are brighter."""
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(photo(path, dtype="uint16"), "r+") as file:
        bands = file.read()
        deep = np.where(bands == 0, 0, low + gain * bands.astype(np.int64)).astype(np.uint16)
        deep[:, 900:910, 900:910] = 65535
        file.write(deep)
    return path


def test_a_16_bit_photo_has_one_scale_for_all_its_tiles_and_bands(tmp_path: Path) -> None:
    truth = patch_of(open_tile_source(photo(tmp_path / "photo.tif"))).pixels.astype(float)
    source = open_tile_source(deep_photo(tmp_path / "deep.tif", low=200, gain=10))
    patch = patch_of(source)
    assert patch.ground_share > 0.99
    shown = patch.pixels.astype(float)
    inside = (shown > 5) & (shown < 250)
    slopes = [np.polyfit(truth[..., c][inside[..., c]], shown[..., c][inside[..., c]], 1) for c in range(3)]
    assert np.abs(np.array(slopes) - slopes[0]).max() < 0.5  # alike for red, green and blue
    low, high = np.percentile(picture()[picture().any(axis=-1)], (0.5, 99.5))
    assert abs(slopes[0][0] * (high - low) / 255.0 - 1.0) < 0.03  # of the whole picture, not of a tile
    residual = [(np.polyval(slopes[c], truth[..., c]) - shown[..., c])[inside[..., c]] for c in range(3)]
    assert max(np.abs(values).mean() for values in residual) < 1.0
    (note,) = source.notes  # type: ignore[attr-defined]
    assert re.match(r"16-bit pixels: levels \d+ to \d+ \(0\.5 and 99\.5 % of its pixels\) become 0 to 255", note)
    assert 0.2 < patch_of(source, CORNER).ground_share < 0.9  # no-data stays transparent


def test_the_levels_of_a_16_bit_photo_may_be_given(tmp_path: Path) -> None:
    truth = patch_of(open_tile_source(photo(tmp_path / "photo.tif")))
    deep = deep_photo(tmp_path / "deep.tif", low=200, gain=10)
    assert difference(patch_of(open_tile_source(f"{deep}?levels=200,2750")), truth) < 1.0
    for bad, path in (("500,200", deep), ("0,255", tmp_path / "photo.tif")):
        with pytest.raises(InputError, match="is no 16-bit picture with levels from"):
            open_tile_source(f"{path}?levels={bad}")


def pmtiles_of(mbtiles: Path, path: Path) -> Path:
    """What the converter of the PMTiles project makes of an MBTiles file."""
    pytest.importorskip("pmtiles", reason="pmtiles (extra `pmtiles`) is not installed")
    script = (
        "import sys; from pmtiles.convert import mbtiles_to_pmtiles; mbtiles_to_pmtiles(*sys.argv[1:], maxzoom=None)"
    )
    subprocess.run([sys.executable, "-c", script, mbtiles, path], check=True, capture_output=True)
    return path


def test_an_archive_of_pmtiles_shows_the_same_pixels(
    tmp_path: Path, town_map: Path, serve: Callable[..., AnsweringServer]
) -> None:
    path = pmtiles_of(town_map, tmp_path / "town.pmtiles")
    original, archive = MBTilesSource(town_map), open_tile_source(path)
    assert (archive.name, archive.tile_size) == (original.name, original.tile_size)
    assert (archive.min_zoom, archive.max_zoom) == (original.min_zoom, original.max_zoom)
    assert archive.bounds.centre == pytest.approx(original.bounds.centre, abs=1e-6)
    data = path.read_bytes()

    def part(asked: str, headers: dict[str, str]) -> Answer:
        first, last = (int(v) for v in re.findall(r"\d+", headers["Range"]))
        return 206, {}, data[first : last + 1]

    server = serve(part)
    remote = open_tile_source(f"{server.base_url}/town.pmtiles")
    places = original.some_places(original.max_zoom, 12)
    for x, y in places:
        assert archive.read(original.max_zoom, x, y) == original.read(original.max_zoom, x, y)
        assert remote.read(original.max_zoom, x, y) == original.read(original.max_zoom, x, y)
    assert len(server.asked) <= 4 + len(places)  # directories are read once
    with pytest.raises(TileMissingError):
        archive.read(original.max_zoom, 0, 0)
    server.answer = lambda asked, headers: (200, {}, data)
    with pytest.raises(TileSourceUnavailableError, match="gives no parts of files"):
        open_tile_source(f"{server.base_url}/whole.pmtiles")
    for source in (original, archive, remote):
        source.close()


def test_archives_that_are_none_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pmtiles", reason="pmtiles (extra `pmtiles`) is not installed")
    for name, content in (("text", b"no archive"), ("cut", b"PMTiles\x03" + bytes(40)), ("empty", b"")):
        path = tmp_path / f"{name}.pmtiles"
        path.write_bytes(content)
        with pytest.raises(TileSourceUnavailableError, match="not a PMTiles archive|damaged PMTiles archive"):
            open_tile_source(path)
    with pytest.raises(TileSourceUnavailableError, match="cannot be read"):
        open_tile_source(tmp_path / "absent.pmtiles")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.tif", "rasterio", "geotiff"), ("a.pmtiles", "pmtiles", "pmtiles")]
)
def test_a_library_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, package, None)
    for module in [module for module in sys.modules if module.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs {package}: pip install 'geoflow_ros\[{extra}\]'"):
        open_tile_source(tmp_path / name)


def test_tiles_of_gdal2tiles_named_the_other_way_are_recognised_by_their_description(
    tmp_path: Path, town_map: Path
) -> None:
    source = MBTilesSource(town_map)
    zoom = source.max_zoom
    with closing(sqlite3.connect(town_map)) as database:
        for column, row, data in database.execute(
            "SELECT tile_column, tile_row, tile_data FROM tiles WHERE zoom_level = ?", (zoom,)
        ):
            (tmp_path / str(zoom) / str(column)).mkdir(parents=True, exist_ok=True)
            (tmp_path / str(zoom) / str(column) / f"{row}.png").write_bytes(data)
    west, south, east, north = source.bounds.as_tuple()
    # As GDAL 3 writes it, latitude first in x; older versions the other way round.
    for edges in ((west, south, east, north), (south, west, north, east)):
        box = 'minx="{}" miny="{}" maxx="{}" maxy="{}"'.format(*edges)
        (tmp_path / "tilemapresource.xml").write_text(
            f'<?xml version="1.0"?><TileMap version="1.0.0"><SRS>EPSG:3857</SRS><BoundingBox {box}/></TileMap>'
        )
        places = source.some_places(zoom, 5)
        for template in ("{z}/{x}/{y}.png", "{z}/{x}/{-y}.png"):
            folder = open_tile_source(f"{tmp_path}/{template}")
            assert all(folder.read(zoom, x, y) == source.read(zoom, x, y) for x, y in places)
            assert folder.bounds.centre == pytest.approx(source.bounds.centre, abs=1e-6)
            assert any("rows are numbered" in note for note in folder.notes) == (template == "{z}/{x}/{y}.png")
    source.close()
