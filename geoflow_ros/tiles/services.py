"""OGC services, WMTS 1.0.0 and WMS 1.1.1 and 1.3.0 by key and value: their capabilities become a tile template."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit
from xml.etree.ElementTree import Element

from geoflow_ros.errors import InputError
from geoflow_ros.geo import MAX_ZOOM, GeoBounds
from geoflow_ros.geo.mercator import EQUATOR_M
from geoflow_ros.tiles.claims import Claims, said_bounds
from geoflow_ros.tiles.http import HttpSettings
from geoflow_ros.tiles.secrets import public
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD
from geoflow_ros.tiles.template import TileTemplate
from geoflow_ros.tiles.xyz import XyzSource, document

_WEB_MERCATOR = ("3857", "900913", "102100", "102113", "3785")
_FORMATS = ("image/jpeg", "image/jpg", "image/png", "image/webp")
# OGC 07-057r7, annex E.4: scale denominator of zoom 0 with tiles of 256 px, by pixels of 0.28 mm.
_SCALE_OF_ZOOM_0 = 559_082_264.0287178
_ZOOM_TOLERANCE = 0.01
_WMS_TILE_PX = 512
_OWN_KEYS = {
    *("service", "request", "version", "layer", "layers", "style", "styles", "format", "tilematrixset", "bbox"),
    *("tilematrix", "tilerow", "tilecol", "width", "height", "crs", "srs"),
}


def is_service(url: str) -> bool:
    """Tells whether an address without placeholders is that of a WMTS or WMS."""
    keys = _query(url)
    is_document = urlsplit(url).path.lower().endswith("wmtscapabilities.xml")
    return is_document or keys.get("service", "").lower() in ("wmts", "wms")


def open_service(url: str, http: HttpSettings | None = None) -> XyzSource:
    """Opens a WMTS or WMS by its address: `https://host/path?SERVICE=WMTS&LAYER=name` or SERVICE=WMS&LAYERS=name.

    A WMTS address may be that of its capabilities document, and may name its TILEMATRIXSET; the web-mercator one is
    taken otherwise. Whatever else is in the query, such as a key, is sent with every tile.

    Raises:
        InputError: the service has no such layer, or not in web mercator.
        TileSourceUnavailableError: the service does not answer.
    """
    keys = _query(url)
    if keys.get("service", "").lower() == "wms":
        return _open_wms(url, keys, http)
    return _open_wmts(url, keys, http)


def _open_wms(url: str, keys: dict[str, str], http: HttpSettings | None) -> XyzSource:
    version = keys.get("version", "1.3.0")
    root = _capabilities(url, {"SERVICE": "WMS", "REQUEST": "GetCapabilities", "VERSION": version}, http)
    layers = {_text(layer, "Name"): path for layer, path in _nested_layers(root)}
    layers.pop("", None)
    names = keys.get("layers", "").split(",")
    for name in names:
        if name not in layers:
            raise InputError(f"WMS {public(url)} has no layer '{name}'; give LAYERS=, one of {_some(layers)}")
    path = layers[names[0]]  # of the layer and those around it, which it inherits from
    systems = {str(crs.text).strip() for layer in path for tag in ("CRS", "SRS") for crs in _children(layer, tag)}
    system = next((f"EPSG:{code}" for code in _WEB_MERCATOR if f"EPSG:{code}" in " ".join(systems).split()), None)
    if system is None:
        raise InputError(f"WMS {public(url)} has layer '{names[0]}' not in web mercator (EPSG:3857)")
    offered = [str(f.text).strip() for get_map in _all(root, "GetMap") for f in _children(get_map, "Format")]
    values = {
        **{key: value for key, value in keys.items() if key not in _OWN_KEYS},
        "SERVICE": "WMS",
        "REQUEST": "GetMap",
        "VERSION": version,
        "LAYERS": ",".join(names),
        "STYLES": keys.get("styles", ""),
        "FORMAT": keys.get("format") or _format(offered, f"WMS {public(url)}"),
        "CRS" if version.startswith("1.3") else "SRS": system,
        "WIDTH": str(_WMS_TILE_PX),
        "HEIGHT": str(_WMS_TILE_PX),
        "BBOX": "{bbox}",
    }
    bounds = next(filter(None, (_wms_bounds(layer) for layer in path)), WEB_MERCATOR_WORLD)
    return XyzSource(
        TileTemplate(_with_query(url, values)), name=names[0], tile_size=_WMS_TILE_PX, bounds=bounds, http=http
    )


def _wms_bounds(layer: Element) -> GeoBounds | None:
    for box in _children(layer, "EX_GeographicBoundingBox"):
        edges = [_text(box, f"{side}Bound{axis}") for side, axis in _EDGES]
        return _bounds(edges)
    for box in _children(layer, "LatLonBoundingBox"):
        return _bounds([box.get(name, "") for name in ("minx", "miny", "maxx", "maxy")])
    return None


_EDGES = (("west", "Longitude"), ("south", "Latitude"), ("east", "Longitude"), ("north", "Latitude"))


def _nested_layers(element: Element, around: tuple[Element, ...] = ()) -> Iterator[tuple[Element, tuple[Element, ...]]]:
    """Gives each layer with itself and those around it, the innermost first."""
    for child in element:
        if _tag(child) == "Layer":
            yield child, (child, *around)
            yield from _nested_layers(child, (child, *around))
        elif not around:
            yield from _nested_layers(child)


class _MatrixSet(NamedTuple):
    name: str
    levels: dict[int, str]
    tile_px: int


def _open_wmts(url: str, keys: dict[str, str], http: HttpSettings | None) -> XyzSource:
    label = f"WMTS {public(url)}"
    root = _capabilities(url, {"SERVICE": "WMTS", "REQUEST": "GetCapabilities", "VERSION": "1.0.0"}, http)
    layers = {_text(layer, "Identifier"): layer for layer in _all(root, "Layer")}
    name = keys.get("layer") or (next(iter(layers)) if len(layers) == 1 else "")
    if name not in layers:
        said = f"has no layer '{name}'" if name else "has several layers"
        raise InputError(f"{label} {said}; give LAYER=, one of {_some(layers)}")
    layer = layers[name]
    matrix_set = _matrix_set(root, layer, keys.get("tilematrixset", ""), f"{label} has layer '{name}'")
    styles = sorted(_children(layer, "Style"), key=lambda style: style.get("isDefault") != "true")
    style = keys.get("style") or (_text(styles[0], "Identifier") if styles else "")
    offered = [str(child.text).strip() for child in _children(layer, "Format")]
    image = keys.get("format") or _format(offered, label)
    resource = next(
        (r for r in _children(layer, "ResourceURL") if r.get("resourceType") == "tile" and r.get("format") == image),
        None,
    )
    dimensions = {_text(d, "Identifier"): _text(d, "Default") for d in _children(layer, "Dimension")}
    if resource is not None:
        fixed = {"style": style, "tilematrixset": matrix_set.name, **{k.lower(): v for k, v in dimensions.items()}}
        text = re.sub(
            r"\{(\w+)\}",
            lambda m: quote(fixed[m[1].lower()]) if m[1].lower() in fixed else m[0],
            resource.get("template", ""),
        )
        extra = {key: value for key, value in keys.items() if key not in _OWN_KEYS}
        text = _with_query(text, extra) if extra else text
    else:
        values = {
            **{key: value for key, value in keys.items() if key not in _OWN_KEYS},
            "SERVICE": "WMTS",
            "REQUEST": "GetTile",
            "VERSION": "1.0.0",
            "LAYER": name,
            "STYLE": style,
            "FORMAT": image,
            "TILEMATRIXSET": matrix_set.name,
            **dimensions,
            "TILEMATRIX": "{TileMatrix}",
            "TILEROW": "{TileRow}",
            "TILECOL": "{TileCol}",
        }
        text = _with_query(_get_tile_address(root) or url, values)
    corners = [
        _text(box, corner) for box in _children(layer, "WGS84BoundingBox") for corner in ("LowerCorner", "UpperCorner")
    ]
    return XyzSource(
        TileTemplate(text, matrix_set.levels),
        name=name,
        tile_size=matrix_set.tile_px,
        min_zoom=min(matrix_set.levels),
        max_zoom=max(matrix_set.levels),
        bounds=_bounds(" ".join(corners).split()) or WEB_MERCATOR_WORLD,
        http=http,
    )


def _matrix_set(root: Element, layer: Element, wanted: str, label: str) -> _MatrixSet:
    linked = [_text(link, "TileMatrixSet") for link in _children(layer, "TileMatrixSetLink")]
    if wanted and wanted not in linked:
        raise InputError(f"{label} not in the tile matrix set '{wanted}'; give TILEMATRIXSET=, one of {_some(linked)}")
    for contents in _all(root, "Contents"):
        for element in _children(contents, "TileMatrixSet"):
            name = _text(element, "Identifier")
            if name in linked and wanted in ("", name):
                levels, tile_px = _levels(element)
                if levels:
                    return _MatrixSet(name, levels, tile_px)
    raise InputError(f"{label} in no tile matrix set of web mercator (EPSG:3857), but in {_some(linked)}")


def _levels(matrix_set: Element) -> tuple[dict[int, str], int]:
    """Names of the zooms whose tiles are those of the slippy map, and their size; none where the set is another."""
    levels: dict[int, str] = {}
    tile_px = 0
    if not _text(matrix_set, "SupportedCRS").endswith(_WEB_MERCATOR):
        return {}, 0
    for matrix in _children(matrix_set, "TileMatrix"):
        tile_px = int(float(_text(matrix, "TileWidth") or 256))
        zoom = math.log2(_SCALE_OF_ZOOM_0 * 256 / tile_px / float(_text(matrix, "ScaleDenominator") or 1.0))
        x, y = (float(value) for value in (_text(matrix, "TopLeftCorner") or "0 0").split()[:2])
        is_world = math.isclose(x, -y, rel_tol=1e-4) and math.isclose(abs(x), EQUATOR_M / 2.0, rel_tol=1e-4)
        if is_world and abs(zoom - round(zoom)) < _ZOOM_TOLERANCE and 0 <= round(zoom) <= MAX_ZOOM:
            levels[round(zoom)] = _text(matrix, "Identifier")
    return levels, tile_px


def _get_tile_address(root: Element) -> str:
    for operation in _all(root, "Operation"):
        if operation.get("name") == "GetTile":
            for get in _all(operation, "Get"):
                for key, value in get.attrib.items():
                    if key.endswith("href"):
                        return value
    return ""


def _capabilities(url: str, values: dict[str, str], http: HttpSettings | None) -> Element:
    keys = {key: value for key, value in _query(url).items() if key not in _OWN_KEYS}
    is_document = urlsplit(url).path.lower().endswith(".xml")
    data = document(url if is_document else _with_query(url, {**keys, **values}), http)
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError:
        raise InputError(f"{values['SERVICE']} {public(url)} gives no capabilities; check the address") from None


def _query(url: str) -> dict[str, str]:
    return {key.lower(): value for key, value in parse_qsl(urlsplit(url).query, keep_blank_values=True)}


def _with_query(url: str, values: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(f"{quote(key)}={quote(value, safe='{}:,/')}" for key, value in values.items())
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _format(offered: Sequence[str], label: str) -> str:
    found = next((image for image in _FORMATS if image in offered), None)
    if found is None and offered:
        raise InputError(f"{label} has no JPEG, PNG or WebP images, but {_some(offered)}")
    return found or _FORMATS[0]


def _bounds(edges: Sequence[str]) -> GeoBounds | None:
    return said_bounds(Claims.read({"bounds": list(edges)}))[0]


def _some(names: Sequence[str] | dict[str, Element] | dict[str, tuple[Element, ...]], most: int = 12) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _tag(element: Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


def _children(element: Element, tag: str) -> list[Element]:
    return [child for child in element if _tag(child) == tag]


def _all(element: Element, tag: str) -> list[Element]:
    return [child for child in element.iter() if _tag(child) == tag]


def _text(element: Element, tag: str) -> str:
    return next((str(child.text or "").strip() for child in _children(element, tag)), "")
