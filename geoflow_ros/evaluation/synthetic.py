"""Which image pairs of the synthetic worlds a bundle is measured on."""

from dataclasses import dataclass
from pathlib import Path

from geoflow_ros.arrays import BoolArray
from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.bundle.manifest import FORWARD_X
from geoflow_ros.errors import InputError
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference import Fix, PatchLocalizer
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraUncertainty
from geoflow_ros.inference.inputs import searched_radius_m
from geoflow_ros.resources import model_path
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.pairs import Area, Pair, PairSampler
from geoflow_ros.world.priors import HeadingError
from geoflow_ros.world.splits import Split

NOMINAL, HYPOTHESES = "nominal", "hypotheses"


@dataclass(frozen=True)
class Protocol:
    """Which pairs are measured.

    Attributes:
        area: the town of the training (other drives, other light, an older map), or cities of which training saw none.
        pairs: how many.
        seed: which; with `Area.CROSS`, also which cities.
        heading: how wrong the assumed heading is; localizers are told how wrong it may be.
        split: whose worlds. `Split` keeps them apart from those of the training, whatever the seed.
        conditions: how hard. The pairs' places, offsets and headings are the same under all of them.
        camera: what the localizer is told of the camera's pose above the ground: "nominal" (it stands exactly as the
            model assumes), "hypotheses" (measured as a mounting is: several ways are tried), or None for the first
            where the conditions leave the camera undisturbed, else the second. GeoFlow has no use for it.
        photometric: whether the colours, tones and sharpness of both pictures are changed strongly, apart.
        orthophotos: what the worlds are made of, with maps of another year; None: procedural cities, or the town.
        prior_radius_m: largest error of the prior on both axes, which localizers are told; the model's search radius
            where None.
    """

    area: Area
    pairs: int
    seed: int
    heading: HeadingError = HeadingError()
    split: Split = Split.TEST
    conditions: Conditions = EASY
    photometric: bool = False
    camera: str | None = None
    orthophotos: Orthophotos | None = None
    prior_radius_m: float | None = None

    @property
    def worlds(self) -> str:
        """What the pairs are of, in a word or two."""
        return f"{self.area.value}-area" if self.orthophotos is None else f"orthophotos of {self.orthophotos.path}"

    @property
    def key(self) -> str:
        """What a manifest keeps the figures under: the area, and what makes the pairs harder than the easy ones."""
        parts = ["synthetic", self.area.value] if self.orthophotos is None else ["orthophotos"]
        parts += [self.conditions.name] if self.conditions.disturb else []
        parts += ["photometric"] if self.photometric else []
        return "-".join(parts + ([] if self.prior_radius_m is None else [f"prior{self.prior_radius_m:g}m"]))


def loaded(model: str | Path) -> Bundle:
    """Loads a bundle that can be asked about synthetic pairs.

    Args:
        model: a bundle's folder or a shipped one's name.

    Raises:
        BundleError: not a bundle.
        InputError: its patches or its camera are others than those of the pairs.
    """
    bundle = Bundle.load(model_path(model))
    manifest = bundle.manifest
    if manifest.alignment != FORWARD_X or manifest.camera.model != "perspective":
        raise InputError(
            f"the synthetic pairs are forward-x with a perspective camera; '{manifest.name}' is "
            f"{manifest.alignment} with a {manifest.camera.model} camera"
        )
    return bundle


def sampler_for(
    manifest: Manifest, protocol: Protocol, kind: type[PairSampler] = PairSampler, horizontal_fov_deg: float = 90.0
) -> PairSampler:
    """Makes the sampler of the protocol's pairs, in the sizes and scale of a model.

    Args:
        manifest: of the model.
        protocol: which pairs.
        kind: of sampler.
        horizontal_fov_deg: of the camera's lens.
    """
    return kind(
        area=protocol.area,
        seed=protocol.seed,
        satellite_size=manifest.satellite.size_px,
        ground_size=(manifest.ground.height_px, manifest.ground.width_px),
        ground_resolution_m=manifest.satellite.ground_resolution_m,
        search_radius_m=searched_radius_m(manifest, protocol.prior_radius_m),
        heading_error=protocol.heading,
        split=protocol.split,
        conditions=protocol.conditions,
        photometric_share=float(protocol.photometric),
        orthophotos=protocol.orthophotos,
        horizontal_fov_deg=horizontal_fov_deg,
    )


def camera_of(protocol: Protocol) -> CameraUncertainty | None:
    """Returns how well a localizer takes the camera's pose to be known; exactly where None."""
    told = protocol.camera or (HYPOTHESES if protocol.conditions.disturb else NOMINAL)
    return EXTRINSICS if told == HYPOTHESES else None


def as_patch(pair: Pair, manifest: Manifest) -> SatellitePatch:
    """Places a pair's patch in a map of its own: its centre is the origin, its forward the east."""
    frame = PatchFrame(0.0, 0.0, 0.0, manifest.satellite.size_px, manifest.satellite.ground_resolution_m)
    return SatellitePatch(pair.satellite, frame)


def answer_to(
    localizer: PatchLocalizer, pair: Pair, index: int, protocol: Protocol, covered: BoolArray | None = None
) -> Fix:
    """Asks about a pair of a protocol, which says how wrong heading and position may be.

    Args:
        localizer: that is asked; what it knows of another vehicle's camera is forgotten.
        pair: of the protocol.
        index: of the pair, which draws depend on.
        protocol: of the pair.
        covered: which pixels of its image show anything; all where None.
    """
    localizer.forget()
    patch, heading_rad = as_patch(pair, localizer.manifest), protocol.heading.stated_rad
    return localizer.localize(pair.ground, patch, index, heading_rad, protocol.prior_radius_m, covered)


def heading_error(normal_deg: float | None, uniform_deg: float | None) -> HeadingError:
    """Returns the heading error that the command line's options ask for: normal with 2° where neither is given."""
    return HeadingError(sigma_deg=2.0 if normal_deg is None else normal_deg, uniform_deg=uniform_deg)


def describe(heading: HeadingError) -> str:
    """Describes the heading error in a few words."""
    if heading.uniform_deg is not None:
        return f"uniform in ±{heading.uniform_deg:g}°"
    return f"normal, sigma {heading.sigma_deg:g}°"
