"""Templates of the ground turned to headings and slid over a patch's cells: a score for every pose.

`correlate` is made of gathers, a matrix product and sums, which every inference engine takes. Training
scores whole volumes of fine cells, for which `correlate_by_fft` gives the same numbers in a twentieth of the work.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from geoflow_ros.geo.birds_eye import BirdsEyeGrid

_TILES = (4, 2, 1)  # sides of tiles; larger ones multiply more in vain, smaller ones copy more
_FFT_FACTORS = (2, 3, 5)
_LEAST_ENERGY = 1e-3  # of a template: one without any stays as it is


class Templates(NamedTuple):
    """Templates whose cells are in the order that products take them: cut into tiles of a few cells.

    Attributes:
        tiles: (B, K, b a, C, tiles) features by the cell in a tile (columns, then rows) and by the tile.
        gain: (B, K) what the scores of each template are to be multiplied with.
        high, wide: cells of the whole.
    """

    tiles: Tensor
    gain: Tensor
    high: int
    wide: int


def turned(cells: Tensor, turn_rad: Tensor, grid: BirdsEyeGrid, canvas: BirdsEyeGrid) -> Tensor:
    """Turns features about the camera by heading errors; what leaves the canvas is lost, what is not seen is 0.

    Interpolation takes contrast away, most at headings that put many cells between others. It is given back, as
    headings that happen to keep it would be preferred: each template is scaled to the energy that its cells bring.

    A point at (forward, right) of the vehicle lies at (f cos - r sin, f sin + r cos) of a camera that looks along the
    patch's axes: the patch is turned by the heading error to the left of the vehicle.

    Args:
        cells: (B, C, F, R) on `grid`.
        turn_rad: (B, K) yaw of the patch less the camera's.
        grid: of the features.
        canvas: of the result, with the same cells.

    Returns:
        (B, K, C, F', R') on `canvas`.
    """
    forward, right = _places(canvas, cells.device)
    templates, gain = _turned(cells, turn_rad, grid, forward, right)
    return templates.transpose(1, 2) * gain[:, :, None, None, None]


def turned_templates(cells: Tensor, turn_rad: Tensor, grid: BirdsEyeGrid, canvas: BirdsEyeGrid) -> Templates:
    """Does the same for matching: the cells are sampled in the order in which they are multiplied."""
    high, wide = canvas.forward_cells, canvas.right_cells
    a, b = _tile(high), _tile(wide)
    forward, right = (
        places.reshape(high // a, a, wide // b, b).permute(3, 1, 0, 2).reshape(b * a, -1)
        for places in _places(canvas, cells.device)
    )
    tiles, gain = _turned(cells, turn_rad, grid, forward, right)
    return Templates(tiles.permute(0, 2, 3, 1, 4), gain, high, wide)


def _places(canvas: BirdsEyeGrid, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns where the cells of a canvas are, in cells forward and right of the camera: (F', R') each."""
    forward = torch.arange(canvas.forward_cells, device=device) + (canvas.first_forward_cell + 0.5)
    right = torch.arange(canvas.right_cells, device=device) + (0.5 - canvas.right_cells / 2)
    size = canvas.forward_cells, canvas.right_cells
    return forward[:, None].expand(size), right[None, :].expand(size)


def _turned(
    cells: Tensor, turn_rad: Tensor, grid: BirdsEyeGrid, forward: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the features (B, C, K, rows, columns) at turned places (rows, columns), and the scale (B, K) of each."""
    batch, turns = turn_rad.shape
    rows, columns = forward.shape
    cosine, sine = torch.cos(turn_rad)[..., None, None], torch.sin(turn_rad)[..., None, None]
    own_forward, own_right = forward * cosine + right * sine, right * cosine - forward * sine
    x = own_right * (2.0 / grid.right_cells)
    y = (own_forward - grid.first_forward_cell) * (2.0 / grid.forward_cells) - 1.0
    where = torch.stack((x, y), dim=-1).reshape(batch, turns * rows, columns, 2)

    def sampled(features: Tensor) -> Tensor:
        result = F.grid_sample(features, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        return result.reshape(batch, features.shape[1], turns, rows, columns)

    templates = sampled(cells)
    brought = sampled(cells.square().sum(dim=1, keepdim=True)).sum(dim=(1, 3, 4))
    kept = templates.square().sum(dim=(1, 3, 4))
    return templates, torch.sqrt((brought + _LEAST_ENERGY) / (kept + _LEAST_ENERGY))


def search_area(satellite: Tensor, canvas: BirdsEyeGrid, reach: int) -> Tensor:
    """Cuts out what templates can touch when the camera is up to `reach` cells from the patch's centre.

    Args:
        satellite: (B, C, S, S), axes forward and right; beyond the patch is 0.
        canvas: of the templates.
        reach: cells, on every side.

    Returns:
        (B, C, F' + 2 reach, R' + 2 reach).
    """
    half = satellite.shape[-1] // 2
    top, left = half + canvas.first_forward_cell - reach, half - canvas.right_cells // 2 - reach
    bottom = satellite.shape[-2] - top - canvas.forward_cells - 2 * reach
    other = satellite.shape[-1] - left - canvas.right_cells - 2 * reach
    return F.pad(satellite, (-left, -other, -top, -bottom))


def window_areas(satellite: Tensor, canvas: BirdsEyeGrid, centre_cells: Tensor, reach: int) -> Tensor:
    """Does the same around other places than the patch's centre.

    Args:
        satellite: (B, C, S, S), axes forward and right; beyond the patch is 0.
        canvas: of the templates.
        centre_cells: (B, M, 2) float, cells (forward, right) from the patch's centre.
        reach: cells, on every side.

    Returns:
        (B, M, C, F' + 2 reach, R' + 2 reach).
    """
    batch, windows, _ = centre_cells.shape
    size = satellite.shape[-1]
    rows, columns = canvas.forward_cells + 2 * reach, canvas.right_cells + 2 * reach
    # metres do not matter here: +-1 are the patch's edges, half its cells from the centre
    forward = torch.arange(rows, device=satellite.device) + (canvas.first_forward_cell - reach + 0.5)
    right = torch.arange(columns, device=satellite.device) + (0.5 - canvas.right_cells / 2 - reach)
    y = ((forward + centre_cells[..., :1]) * (2.0 / size))[..., :, None].expand(-1, -1, -1, columns)
    x = ((right + centre_cells[..., 1:]) * (2.0 / size))[..., None, :].expand(-1, -1, rows, -1)
    where = torch.stack((x, y), dim=-1).reshape(batch, windows * rows, columns, 2)
    cut = F.grid_sample(satellite, where, mode="bilinear", padding_mode="zeros", align_corners=False)
    return cut.reshape(batch, satellite.shape[1], windows, rows, columns).transpose(1, 2)


def correlate(area: Tensor, templates: Templates) -> Tensor:
    """Sums the products of an area's and a template's features at every shift.

    Template and area are cut into tiles, and one matrix product takes every cell of a tile against every cell of the
    area that some shift lays on it: little is copied, and little is multiplied in vain.

    Args:
        area: (B, C, H, W).
        templates: B times K, of h x w cells.

    Returns:
        (B, K, H - h + 1, W - w + 1).
    """
    batch, channels, rows, columns = area.shape
    tiles, gain, high, wide = templates
    turns = tiles.shape[1]
    a, b = _tile(high), _tile(wide)
    shifts = rows - high + 1, columns - wide + 1
    down, right = shifts[0] + a - 1, shifts[1] + b - 1  # cells that some shift lays on a tile
    places = _overlapping(_overlapping(area, 3, b, right), 2, a, down)  # (B, C, tiles, down, tiles, right)
    inner = channels * (high // a) * (wide // b)
    places = places.transpose(3, 4).reshape(batch, inner, down * right)
    products = torch.matmul(tiles.reshape(batch, turns * b * a, inner), places)
    products = products.reshape(batch, turns, b, a, down, right)
    # what row i of the tiles says of row i + s of the places belongs to the shift s; then columns likewise
    summed = torch.stack([products[:, :, :, i, i : i + shifts[0]] for i in range(a)]).sum(dim=0)
    summed = torch.stack([summed[:, :, j, :, j : j + shifts[1]] for j in range(b)]).sum(dim=0)
    return summed * gain[..., None, None]


def _overlapping(x: Tensor, axis: int, step: int, size: int) -> Tensor:
    """Cuts an axis into pieces of `size` cells, one every `step` cells, side by side on two axes."""
    count = (x.shape[axis] - size) // step + 1
    return torch.stack([x.narrow(axis, step * piece, size) for piece in range(count)], dim=axis)


def _tile(cells: int) -> int:
    """Returns the side of the tiles that so many cells are cut into."""
    return next(side for side in _TILES if cells % side == 0)


def correlate_by_fft(area: Tensor, templates: Tensor) -> Tensor:
    """Returns what `correlate` returns, from products of spectra."""
    rows, columns = area.shape[-2:]
    high, wide = templates.shape[-2:]
    size = _fast_size(rows), _fast_size(columns)
    spectrum = torch.fft.rfft2(area, size)
    product = torch.einsum("bchw,bkchw->bkhw", spectrum, torch.fft.rfft2(templates, size).conj())
    full: Tensor = torch.fft.irfft2(product, size)
    return full[..., : rows - high + 1, : columns - wide + 1]


def _fast_size(least: int) -> int:
    """Returns the least size from `least` on without large prime factors."""
    size = least
    while True:
        rest = size
        for factor in _FFT_FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
