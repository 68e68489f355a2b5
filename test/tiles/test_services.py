"""WMTS and WMS: what a service says becomes the address of a tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fakes.answering_server import Answer, AnsweringServer
from fakes.tiles import GREY

from geoflow_ros.errors import InputError, TileCorruptError, TileSourceUnavailableError
from geoflow_ros.geo import GeoBounds
from geoflow_ros.tiles import HttpSettings, open_tile_source
from geoflow_ros.tiles.services import is_service

Serve = Callable[[Callable[[str, Mapping[str, str]], Answer]], AnsweringServer]
QUICK = HttpSettings(timeout_s=5.0, retries=0)
_NAMES = 'xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"'
_LINKS = f'{_NAMES} xmlns:xlink="http://www.w3.org/1999/xlink"'


def matrix_set(name: str, crs: str, corner: str, level: str, tile_px: int = 256) -> str:
    levels = "".join(
        f"""<TileMatrix><ows:Identifier>{level.format(zoom)}</ows:Identifier>
            <ScaleDenominator>{559082264.0287178 / 2**zoom * 256 / tile_px}</ScaleDenominator>
            <TopLeftCorner>{corner}</TopLeftCorner><TileWidth>{tile_px}</TileWidth><TileHeight>{tile_px}</TileHeight>
            <MatrixWidth>{2**zoom}</MatrixWidth><MatrixHeight>{2**zoom}</MatrixHeight></TileMatrix>"""
        for zoom in range(12, 20)
    )
    return f"""<TileMatrixSet><ows:Identifier>{name}</ows:Identifier><ows:SupportedCRS>{crs}</ows:SupportedCRS>{levels}
        </TileMatrixSet>"""


NATIONAL = matrix_set("EPSG:28992", "urn:ogc:def:crs:EPSG::28992", "-285401.92 903401.92", "{:02d}")
WORLD = matrix_set("PM", "urn:ogc:def:crs:EPSG:6.18.3:3857", "-20037508.34 20037508.34", "EPSG:3857:{}")
WORLD_512 = matrix_set("512", "urn:ogc:def:crs:EPSG::900913", "-20037508.342789 20037508.342789", "{}", 512)


def layer(name: str, sets: list[str], more: str = "") -> str:
    links = "".join(f"<TileMatrixSetLink><TileMatrixSet>{s}</TileMatrixSet></TileMatrixSetLink>" for s in sets)
    return f"""<Layer><ows:Title>Orthophoto</ows:Title><ows:WGS84BoundingBox><ows:LowerCorner>3.2 50.7</ows:LowerCorner>
        <ows:UpperCorner>7.3 53.7</ows:UpperCorner></ows:WGS84BoundingBox><ows:Identifier>{name}</ows:Identifier>
        <Style><ows:Identifier>other</ows:Identifier></Style>
        <Style isDefault="true"><ows:Identifier>normal</ows:Identifier></Style>
        <Format>image/png</Format><Format>image/jpeg</Format>{links}{more}</Layer>"""


def wmts(*layers: str, sets: str = NATIONAL + WORLD + WORLD_512, operations: str = "") -> bytes:
    text = f"<Capabilities {_LINKS}>{operations}<Contents>{''.join(layers)}{sets}</Contents></Capabilities>"
    return text.encode()


def answering(capabilities: bytes) -> Callable[[str, Mapping[str, str]], Answer]:
    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        is_question = "getcapabilities" in path.lower() or ".xml" in path
        return (200, {}, capabilities if is_question else GREY)

    return answer


def asked(server: AnsweringServer) -> dict[str, str]:
    """Key and value of the last question, keys in lower case."""
    return {
        key.lower(): value for key, value in parse_qsl(urlsplit(server.asked[-1].path).query, keep_blank_values=True)
    }


def test_a_wmts_layer_is_asked_by_key_and_value_in_web_mercator(serve: Serve) -> None:
    server = serve(answering(wmts(layer("ortho", ["EPSG:28992", "PM"]))))
    source = open_tile_source(f"{server.base_url}/wmts?service=WMTS&key=hush", QUICK)
    assert (source.name, source.tile_size, source.min_zoom, source.max_zoom) == ("ortho", 256, 12, 19)
    assert source.bounds == GeoBounds(3.2, 50.7, 7.3, 53.7)
    assert source.read(19, 268435, 172032) == GREY
    values = asked(server)
    assert values == {
        "service": "WMTS",
        "request": "GetTile",
        "version": "1.0.0",
        "layer": "ortho",
        "style": "normal",
        "format": "image/jpeg",
        "tilematrixset": "PM",
        "tilematrix": "EPSG:3857:19",
        "tilerow": "172032",
        "tilecol": "268435",
        "key": "hush",
    }


def test_a_wmts_document_with_a_resource_template_is_asked_by_it(serve: Serve) -> None:
    server = serve(answering(b""))
    more = f"""<Dimension><ows:Identifier>Time</ows:Identifier><Default>current</Default></Dimension>
        <ResourceURL format="image/jpeg" resourceType="tile"
        template="{server.base_url}/1.0.0/ortho/{{Style}}/{{Time}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.jpg"/>"""
    server.answer = answering(wmts(layer("ortho", ["512"], more), layer("map", ["PM"])))
    source = open_tile_source(f"{server.base_url}/1.0.0/WMTSCapabilities.xml?LAYER=ortho", QUICK)
    assert (source.tile_size, source.max_zoom) == (512, 19)
    source.read(18, 5, 7)
    assert server.asked[-1].path == "/1.0.0/ortho/normal/current/512/18/7/5.jpg"


def test_the_address_of_tiles_may_be_another_than_that_of_the_capabilities(serve: Serve) -> None:
    tiles = serve(lambda path, headers: (200, {}, GREY))
    operations = f"""<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP>
        <ows:Get xlink:href="{tiles.base_url}/cache?"/></ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata>"""
    server = serve(answering(wmts(layer("ortho", ["PM"]), operations=operations)))
    open_tile_source(f"{server.base_url}/?SERVICE=WMTS&LAYER=ortho", QUICK).read(15, 1, 2)
    assert urlsplit(tiles.asked[-1].path).path == "/cache"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "has several layers; give LAYER=, one of ortho, map"),
        ("&LAYER=sea", "has no layer 'sea'; give LAYER=, one of ortho, map"),
        ("&LAYER=map", "in no tile matrix set of web mercator .*, but in EPSG:28992"),
        ("&LAYER=ortho&TILEMATRIXSET=UTM", "not in the tile matrix set 'UTM'; give TILEMATRIXSET=, one of PM"),
    ],
)
def test_what_a_wmts_does_not_have_is_said_with_what_it_has(serve: Serve, query: str, words: str) -> None:
    server = serve(answering(wmts(layer("ortho", ["PM"]), layer("map", ["EPSG:28992"]))))
    with pytest.raises(InputError, match=words):
        open_tile_source(f"{server.base_url}/wmts?SERVICE=WMTS{query}", QUICK)


def wms(version: str, crs: str = "EPSG:3857") -> bytes:
    tag, names = ("CRS", 'xmlns="http://www.opengis.net/wms"') if version == "1.3.0" else ("SRS", "")
    box = (
        """<EX_GeographicBoundingBox><westBoundLongitude>5.8</westBoundLongitude><eastBoundLongitude>9.5</eastBoundLongitude>
        <southBoundLatitude>50.3</southBoundLatitude><northBoundLatitude>52.6</northBoundLatitude></EX_GeographicBoundingBox>"""
        if version == "1.3.0"
        else '<LatLonBoundingBox minx="5.8" miny="50.3" maxx="9.5" maxy="52.6"/>'
    )
    return f"""<WMS_Capabilities version="{version}" {names}><Capability><Request><GetMap><Format>image/png</Format>
        <Format>image/jpeg</Format></GetMap></Request><Layer><Title>all</Title><{tag}>EPSG:25832 EPSG:4326</{tag}>
        <{tag}>{crs}</{tag}>{box}<Layer><Title>colours</Title><Layer queryable="1"><Name>dop_rgb</Name></Layer></Layer>
        </Layer></Capability></WMS_Capabilities>""".encode()


@pytest.mark.parametrize(("version", "key"), [("1.3.0", "crs"), ("1.1.1", "srs")])
def test_a_wms_layer_is_asked_for_the_squares_of_tiles(serve: Serve, version: str, key: str) -> None:
    server = serve(answering(wms(version)))
    told = "" if version == "1.3.0" else "&VERSION=1.1.1"
    source = open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop_rgb&map=x.map{told}", QUICK)
    assert (source.name, source.tile_size, source.bounds) == ("dop_rgb", 512, GeoBounds(5.8, 50.3, 9.5, 52.6))
    source.read(1, 1, 0)
    values = asked(server)
    west, south, east, north = (float(edge) for edge in values.pop("bbox").split(","))
    assert (west, south) == (0.0, 0.0)
    assert east == north == pytest.approx(20037508.342789, abs=1e-5)
    assert values == {
        "service": "WMS",
        "request": "GetMap",
        "version": version,
        "layers": "dop_rgb",
        "styles": "",
        "map": "x.map",
        "format": "image/jpeg",
        key: "EPSG:3857",
        "width": "512",
        "height": "512",
    }


def test_what_a_wms_does_not_have_is_said(serve: Serve) -> None:
    server = serve(answering(wms("1.3.0", crs="EPSG:31467")))
    with pytest.raises(InputError, match="has layer 'dop_rgb' not in web mercator"):
        open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop_rgb", QUICK)
    with pytest.raises(InputError, match="has no layer 'dop'; give LAYERS=, one of dop_rgb"):
        open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop", QUICK)
    server.answer = lambda path, headers: (200, {}, b"this is no XML")
    with pytest.raises(InputError, match="gives no capabilities; check the address"):
        open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop", QUICK)
    server.answer = lambda path, headers: (500, {}, b"")
    with pytest.raises(TileSourceUnavailableError, match="HTTP 500"):
        open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop", QUICK)


def test_the_complaint_of_a_service_is_passed_on(serve: Serve) -> None:
    server = serve(answering(wms("1.3.0")))
    source = open_tile_source(f"{server.base_url}/wms?SERVICE=WMS&LAYERS=dop_rgb", QUICK)
    report = b"<ServiceExceptionReport><ServiceException>Layer is locked</ServiceException></ServiceExceptionReport>"
    server.answer = lambda path, headers: (200, {"Content-Type": "text/xml"}, report)
    with pytest.raises(TileCorruptError, match="no image but text: 'Layer is locked'"):
        source.read(15, 1, 2)


def test_the_listed_services_are_addresses_of_known_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    monkeypatch.setenv("LINZ_API_KEY", "a-key-of-linz")
    listed = yaml.safe_load((Path(__file__).parents[2] / "config" / "map_sources.yaml").read_text(encoding="utf-8"))
    assert len(listed["sources"]) >= 8
    for entry in listed["sources"].values():
        assert entry.keys() == {"url", "provider", "licence", "ground_resolution_m"}
        assert is_service(entry["url"]) or open_tile_source(entry["url"]).max_zoom == 22
