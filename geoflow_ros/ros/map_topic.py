"""Satellite tiles that come as messages: `tiles.source: topic`."""

from __future__ import annotations

from dataclasses import replace

from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage

from geoflow_ros.localization import VehicleOptions
from geoflow_ros.ros.parameters import Settings
from geoflow_ros.ros.qos import TILES
from geoflow_ros.tiles import ReceivedTiles

TOPIC = "satellite/tiles"
FROM_TOPIC = "topic"
"""The value of `tiles.source` for it."""


class MapTopic:
    """Hands the tiles on `satellite/tiles` to a vehicle localizer, where the parameters say so.

    Args:
        node: that subscribes.
        settings: its parameters.
    """

    def __init__(self, node: LifecycleNode, settings: Settings) -> None:
        self._node, self._settings = node, settings
        self._tiles: ReceivedTiles | None = None

    def options(self) -> VehicleOptions:
        """What the vehicle localizer is made of, with the tiles that come as its map.

        Raises:
            InputError: see `Settings.vehicle_options`; or the cache's folder cannot be written.
        """
        options = self._settings.vehicle_options()
        if options.tiles != FROM_TOPIC:
            return options
        self._tiles = ReceivedTiles(self._settings.count("tiles.topic_mb") * 2**20, options.cache)
        return replace(options, tiles=self._tiles)

    def subscriptions(self) -> list[Subscription]:
        """Listens to the topic; what was sent before comes first."""
        if self._tiles is None:
            return []
        return [self._node.create_subscription(CompressedImage, TOPIC, self._on_tile, TILES)]

    def release(self) -> None:
        """Forgets the tiles; the vehicle localizer closes them."""
        self._tiles = None

    @property
    def facts(self) -> dict[str, str]:
        """What came, as keys and values for diagnostics."""
        tiles = self._tiles
        return {} if tiles is None else tiles.facts

    def _on_tile(self, message: CompressedImage) -> None:
        if self._tiles is not None:
            self._tiles.take(message.header.frame_id, bytes(message.data))
