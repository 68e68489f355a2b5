"""A server's tiles kept on disk: for the next drive, for a server that is away, and for a mission without a network."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from geoflow_ros.errors import (
    GeometryError,
    InputError,
    TileCorruptError,
    TileMissingError,
    TileSourceUnavailableError,
)
from geoflow_ros.geo import GeoBounds
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.tile_store import StoredTile, TileStore
from geoflow_ros.tiles.xyz import XyzSource

_log = logging.getLogger(__name__)
_DESCRIPTION = "geoflow_source"
_HOLE_LIFETIME_S = 86400.0  # that a server has no tile is believed for so long
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class CacheSettings:
    """Where and how much of servers' tiles is kept.

    Attributes:
        folder: of the files, one for each source.
        max_bytes: of each file.
        offline: the network is never touched.

    Raises:
        InputError: no room.
    """

    folder: Path
    max_bytes: int = 2048 * _MEBIBYTE
    offline: bool = False

    def __post_init__(self) -> None:
        if self.max_bytes < _MEBIBYTE:
            raise InputError(f"the tile cache needs room for 1 MiB at least, not {self.max_bytes} bytes")

    def path_of(self, spec: str) -> Path:
        """The file of a source, as it was named: before keys are filled in."""
        host = re.sub(r"[^a-z0-9.-]+", "_", (urlsplit(spec).netloc.rsplit("@", 1)[-1] or "tiles").lower())
        return self.folder.expanduser() / f"{host}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}.mbtiles"


class CachedSource:
    """A source that keeps what a server answered in a `TileStore`.

    A tile that is fresh by the server's word is not asked for; an older one is asked about (ETag), and shown as it is
    where the server is away. Trouble with the disk is said once, and then the server is asked.

    Args:
        store: where tiles are kept; closed with the source.
        source: the server; closed with the source. None: nothing is asked, all that is there is shown.

    Raises:
        TileSourceUnavailableError: no source, and the store does not say what it holds.
    """

    def __init__(self, store: TileStore, source: XyzSource | None) -> None:
        self._store, self._source = store, source
        self._has_disk_trouble = False
        if source is not None:
            self.name, self.tile_size, self.bounds = source.name, source.tile_size, source.bounds
            self.min_zoom, self.max_zoom = source.min_zoom, source.max_zoom
            self._write_description()
            return
        said = store.description().get(_DESCRIPTION)
        try:
            facts = json.loads(said or "")
            self.name, self.tile_size = str(facts["name"]), int(facts["tile_size"])
            self.min_zoom, self.max_zoom = int(facts["min_zoom"]), int(facts["max_zoom"])
            self.bounds = GeoBounds(*facts["bounds"])
        except (ValueError, KeyError, TypeError, GeometryError):
            store.close()
            raise TileSourceUnavailableError(f"the tile cache '{store.path}' does not say what it holds") from None

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        kept = self._kept(zoom, x, y)
        if self._source is None or (kept is not None and kept.is_fresh):
            return self._shown(kept, f"tile {zoom}/{x}/{y} of '{self.name}'")
        try:
            answer = self._source.fetch(zoom, x, y, kept.etag if kept is not None and kept.data else "")
        except TileMissingError:
            self._write(zoom, x, y, None, "", _HOLE_LIFETIME_S)
            raise
        except (TileSourceUnavailableError, TileCorruptError):
            if kept is not None and kept.data:
                return kept.data
            raise
        if answer.data is None:
            assert kept is not None  # only what is there is asked about
            assert kept.data is not None
            try:
                self._store.renew(zoom, x, y, answer.lifetime_s)
            except sqlite3.Error as error:
                self._complain(error)
            return kept.data
        if answer.may_store:
            self._write(zoom, x, y, answer.data, answer.etag, answer.lifetime_s)
        return answer.data

    def close(self) -> None:
        """Closes the server's connections and the file."""
        if self._source is not None:
            self._source.close()
        self._store.close()

    def _shown(self, kept: StoredTile | None, label: str) -> bytes:
        if kept is not None and kept.data:
            return kept.data
        if kept is not None:
            raise TileMissingError(f"{label}: the server had nothing there")
        raise TileMissingError(
            f"{label} is not in the cache '{self._store.path.name}', and the network is not to be used"
        )

    def _kept(self, zoom: int, x: int, y: int) -> StoredTile | None:
        try:
            kept = self._store.get(zoom, x, y)
            if kept is not None and kept.data is not None:
                tile_format(kept.data, "a kept tile")
            return kept
        except sqlite3.Error as error:
            self._complain(error)
        except TileCorruptError:
            pass
        return None

    def _write(self, zoom: int, x: int, y: int, data: bytes | None, etag: str, lifetime_s: float) -> None:
        try:
            self._store.put(zoom, x, y, data, etag, lifetime_s)
        except sqlite3.Error as error:
            self._complain(error)

    def _write_description(self) -> None:
        facts = {
            "name": self.name,
            "tile_size": self.tile_size,
            "min_zoom": self.min_zoom,
            "max_zoom": self.max_zoom,
            "bounds": self.bounds.as_tuple(),
        }
        try:
            self._store.describe({"name": self.name, "type": "baselayer", _DESCRIPTION: json.dumps(facts)})
        except sqlite3.Error as error:
            self._complain(error)

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._has_disk_trouble:
            self._has_disk_trouble = True
            _log.warning("the tile cache '%s' cannot be used (%s): tiles come from the server", self._store.path, error)
