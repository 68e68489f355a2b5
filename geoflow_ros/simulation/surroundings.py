"""The localizer's surroundings on the demo: its tile server and its own process, and what may befall them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from urllib.parse import urlsplit

from geoflow_ros.simulation.faults import Fault, Injection
from geoflow_ros.simulation.processes import Child, Children
from geoflow_ros.tiles import TileServer, TileSource


class Surroundings:
    """Serves the map while the `with` block lasts, and does to server and localizer what the drive's faults ask for.

    Args:
        source: the map; stays open.
    """

    def __init__(self, source: TileSource) -> None:
        self._source = source
        self._server: TileServer | None = TileServer(source)
        self.tiles_url = self._server.base_url
        self._open: list[Injection] = []
        self._closing: list[Injection] = []
        self._children: Children | None = None
        self._command: Sequence[str] = ()
        self._localizer: Child | None = None

    def __enter__(self) -> Surroundings:
        assert self._server is not None  # it was made with this
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_serving()

    @property
    def localizer(self) -> Child:
        """The process that localizes now."""
        assert self._localizer is not None  # `harm` names it
        return self._localizer

    def harm(self, faults: Iterable[Injection], children: Children, localizer: Child, command: Sequence[str]) -> None:
        """Takes the faults that are not the vehicle's, and whom they befall.

        Args:
            faults: of the drive.
            children: that the localizer is one of.
            localizer: that runs.
            command: that starts it again.
        """
        own = [injection for injection in faults if injection.fault in (Fault.TILES, Fault.KILLED)]
        self._open = sorted(own, key=lambda injection: injection.start_s)
        self._children, self._localizer, self._command = children, localizer, command

    def at(self, t_s: float) -> None:
        """Does what is due at a time of the drive."""
        while self._closing and self._closing[0].end_s <= t_s:
            self._closing.pop(0)
            address = urlsplit(self.tiles_url)
            assert address.hostname is not None  # it is the server's own
            self._server = TileServer(self._source, address.hostname, address.port or 0)
            self._server.__enter__()
        while self._open and self._open[0].start_s <= t_s:
            injection = self._open.pop(0)
            if injection.fault is Fault.TILES:
                self._stop_serving()
                self._closing.append(injection)
            else:
                assert self._children is not None  # `harm` names them
                self._children.kill(self.localizer)
                self._localizer = self._children.start("localizer_again", self._command)

    def _stop_serving(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
