"""The methods that a bundle may hold, the graphs of each, and the tensors that these have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from geoflow_ros.bundle.birds_eye import COARSE, WINDOW_CELLS, WINDOW_TURNS, BirdsEyeGeometry
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec

GEOFLOW, BIRDS_EYE = "geoflow", "birds_eye"
METHODS = (GEOFLOW, BIRDS_EYE)

SATELLITE_ENCODER = "satellite_encoder"
GROUND_ENCODER = "ground_encoder"
HEAD = "head"
GRAPHS = (SATELLITE_ENCODER, GROUND_ENCODER, HEAD)
"""Of GeoFlow."""

GROUND_PROJECTION = "ground_projection"
COARSE_MATCHER, FINE_MATCHER = "coarse_matcher", "fine_matcher"
COARSE_MATCHER_WIDE, FINE_MATCHER_WIDE = "coarse_matcher_wide", "fine_matcher_wide"
BIRDS_EYE_GRAPHS = (
    *(SATELLITE_ENCODER, GROUND_ENCODER, GROUND_PROJECTION),
    *(COARSE_MATCHER, FINE_MATCHER, COARSE_MATCHER_WIDE, FINE_MATCHER_WIDE),
)
"""Of the bird's-eye method. The wide matchers turn templates to any heading, the others to those near the camera's."""

FLOW_REFINEMENT = "flow_refinement"
"""Of bird's-eye bundles with dense flow, beside the others."""

GRAPHS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType({GEOFLOW: GRAPHS, BIRDS_EYE: BIRDS_EYE_GRAPHS})

ENCODER_STRIDE = 32
"""Of GeoFlow's encoders: image sides are multiples of it."""


def expected_tensors(
    size_px: int, height_px: int, width_px: int, feature_size: int, orientation: bool
) -> dict[str, GraphSpec]:
    """The interface that the graphs of every GeoFlow bundle have, for given sizes. Names and order are fixed."""
    tokens = (size_px // ENCODER_STRIDE) ** 2
    satellite_tokens = TensorSpec("satellite_tokens", "float32", ("B", tokens, feature_size))
    f_vis = TensorSpec("f_vis", "float32", ("B", feature_size))
    displacement = [
        TensorSpec("mu_log_r", "float32", ("B", "N")),
        TensorSpec("var_log_r", "float32", ("B", "N")),
        TensorSpec("direction", "float32", ("B", "N", 2)),
        TensorSpec("kappa", "float32", ("B", "N")),
        TensorSpec("refined", "float32", ("B", "N", 2)),
    ]
    if orientation:
        displacement.append(TensorSpec("orientation", "float32", ("B", "N", 2)))
    return {
        SATELLITE_ENCODER: GraphSpec(
            (TensorSpec("satellite", "uint8", ("B", size_px, size_px, 3)),), (satellite_tokens,)
        ),
        GROUND_ENCODER: GraphSpec(
            (TensorSpec("ground", "uint8", ("B", height_px, width_px, 3)), satellite_tokens), (f_vis,)
        ),
        HEAD: GraphSpec(
            (f_vis, TensorSpec("hypotheses", "float32", ("B", "N", 2)), TensorSpec("step", "float32", ())),
            tuple(displacement),
        ),
    }


def birds_eye_tensors(
    geometry: BirdsEyeGeometry,
    fine_channels: int,
    coarse_channels: int,
    feature_channels: int,
    has_flow: bool = False,
) -> dict[str, GraphSpec]:
    """The interface that the graphs of every bird's-eye bundle have: one image, C camera hypotheses, K headings.

    The fine level looks at M windows. Names and order are fixed.

    Args:
        geometry: of the network.
        fine_channels: features of a fine cell.
        coarse_channels: features of a coarse cell.
        feature_channels: of the camera image's features.
        has_flow: whether dense flow is one of the graphs.
    """
    side, cells = geometry.satellite_size_px, geometry.satellite_cells
    height, width = geometry.ground_height_px, geometry.ground_width_px
    rows, stride = height - geometry.sky_rows_px, 4 << geometry.stem_halvings
    forward, right = geometry.forward_cells, geometry.right_cells

    satellite_fine = _float32("satellite_fine", 1, fine_channels, cells, cells)
    satellite_coarse = _float32("satellite_coarse", 1, coarse_channels, cells // COARSE, cells // COARSE)
    ground_features = _float32("ground_features", 1, feature_channels, rows // stride, width // stride)
    ground_image = _float32("ground_image", 1, 3, rows, width)
    ground_fine = _float32("ground_fine", "C", fine_channels, forward, right)
    ground_coarse = _float32("ground_coarse", "C", coarse_channels, forward // COARSE, right // COARSE)
    coarse, fine = _matchers(geometry, (satellite_fine, satellite_coarse), (ground_fine, ground_coarse))
    image = ground_features, ground_image
    flow = GraphSpec(
        (satellite_fine, satellite_coarse, *image, *_projection(geometry, 1), _float32("start", 1, 3)),
        (_float32("pose", 1, 3), _float32("covariance", 1, 3, 3)),
    )
    return {
        SATELLITE_ENCODER: GraphSpec(
            (TensorSpec("satellite", "uint8", (1, side, side, 3)),), (satellite_fine, satellite_coarse)
        ),
        GROUND_ENCODER: GraphSpec(
            (TensorSpec("ground", "uint8", (1, height, width, 3)),),
            (ground_features, ground_image),
        ),
        GROUND_PROJECTION: GraphSpec(
            (*image, *_projection(geometry, "C")),
            (ground_fine, ground_coarse, _float32("fine_confidence", "C", 1, forward, right)),
        ),
        COARSE_MATCHER: coarse,
        FINE_MATCHER: fine,
        COARSE_MATCHER_WIDE: coarse,
        FINE_MATCHER_WIDE: fine,
        **({FLOW_REFINEMENT: flow} if has_flow else {}),
    }


def _projection(geometry: BirdsEyeGeometry, cameras: int | str) -> tuple[TensorSpec, ...]:
    """Where an image shows the cells, through so many cameras."""
    forward, right = geometry.forward_cells, geometry.right_cells
    return (
        _float32("cells", cameras, forward, right, 2),
        _float32("colours", cameras, 2 * forward, 2 * right, 2),
        _float32("is_visible", cameras, 1, forward, right),
    )


def _matchers(
    geometry: BirdsEyeGeometry, satellite: tuple[TensorSpec, TensorSpec], ground: tuple[TensorSpec, TensorSpec]
) -> tuple[GraphSpec, GraphSpec]:
    """The graphs of the coarse and the fine level; features of a patch and of the ground are fine, then coarse."""
    n, m = 2 * geometry.reach_cells // COARSE + 1, 2 * WINDOW_CELLS + 1
    coarse = GraphSpec((satellite[1], ground[1], _float32("turn", "K")), (_float32("coarse_scores", "C", "K", n, n),))
    windows = (
        TensorSpec("camera", "int64", ("M",)),
        _float32("centre_cells", "M", 2),
        _float32("turn", "M", WINDOW_TURNS),
    )
    fine = GraphSpec(
        (*satellite, *ground, *windows),
        (_float32("fine_scores", "M", WINDOW_TURNS, m, m),),
    )
    return coarse, fine


def _float32(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "float32", shape)
