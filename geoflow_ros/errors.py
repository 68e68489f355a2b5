"""The errors that geoflow_ros raises: one family, each message a line that says what to do."""


class GeoFlowError(Exception):
    """Base of every error that a user of the package can act on."""


class InputError(GeoFlowError):
    """An argument, file or message that cannot be used as given."""


class GeometryError(GeoFlowError):
    """A coordinate outside the range in which its frame is valid."""


class TileError(GeoFlowError):
    """Base of the errors about satellite tiles."""


class TileMissingError(TileError):
    """The source answered, and has no such tile."""


class TileCorruptError(TileError):
    """The tile's bytes are not an image of the expected size."""


class TileSourceUnavailableError(TileError):
    """The source did not answer: network, file or server trouble; trying again may help."""


class BundleError(GeoFlowError):
    """A model bundle that is missing, damaged or does not match its manifest."""


class BackendError(GeoFlowError):
    """What runs the model failed at it, such as a device that is out of memory or gone."""

    exit_code = 1  # not the user's input


class CheckpointError(GeoFlowError):
    """A checkpoint that is not of this network."""


class ImageError(GeoFlowError):
    """A camera image that cannot be decoded or does not fit the model."""


class OdometryError(GeoFlowError):
    """Odometry that cannot be used: not finite, not a rotation, out of order, or not covering a stamp."""


class WorldError(GeoFlowError):
    """A synthetic world asked for something outside its extent or settings."""
