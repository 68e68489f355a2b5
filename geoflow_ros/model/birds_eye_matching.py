"""Templates of the ground turned to headings and slid over a patch's cells: a score for every pose.

`correlate` is made of a gather, a matrix product, a reshape and a sum, which every inference engine takes. Training
scores whole volumes of fine cells, for which `correlate_by_fft` gives the same numbers in a twentieth of the work.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geoflow_ros.geo.birds_eye import BirdsEyeGrid

_FFT_FACTORS = (2, 3, 5)
_LEAST_ENERGY = 1e-3  # of a template: one without any stays as it is


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
    batch, turns = turn_rad.shape
    forward = torch.arange(canvas.forward_cells, device=cells.device) + (canvas.first_forward_cell + 0.5)
    right = torch.arange(canvas.right_cells, device=cells.device) + (0.5 - canvas.right_cells / 2)
    forward, right = forward[:, None], right[None, :]
    cosine, sine = torch.cos(turn_rad)[..., None, None], torch.sin(turn_rad)[..., None, None]
    own_forward, own_right = forward * cosine + right * sine, right * cosine - forward * sine
    x = own_right * (2.0 / grid.right_cells)
    y = (own_forward - grid.first_forward_cell) * (2.0 / grid.forward_cells) - 1.0
    where = torch.stack((x, y), dim=-1).reshape(batch, turns * canvas.forward_cells, canvas.right_cells, 2)
    energy = cells.square().sum(dim=1, keepdim=True)
    result = F.grid_sample(
        torch.cat((cells, energy), dim=1), where, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    shape = (batch, cells.shape[1] + 1, turns, canvas.forward_cells, canvas.right_cells)
    result = result.reshape(shape).transpose(1, 2)
    templates, energy = result[:, :, :-1], result[:, :, -1:]
    brought, kept = energy.sum(dim=(2, 3, 4)), templates.square().sum(dim=(2, 3, 4))
    return templates * torch.sqrt((brought + _LEAST_ENERGY) / (kept + _LEAST_ENERGY))[:, :, None, None, None]


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


def correlate(area: Tensor, templates: Tensor) -> Tensor:
    """Sums the products of an area's and a template's features at every shift.

    Args:
        area: (B, C, H, W).
        templates: (B, K, C, h, w).

    Returns:
        (B, K, H - h + 1, W - w + 1).
    """
    batch, channels, rows, columns = area.shape
    _, turns, _, high, wide = templates.shape
    shifts = columns - wide + 1
    index = torch.arange(shifts, device=area.device)[:, None] + torch.arange(wide, device=area.device)
    unfolded = area[..., index]  # (B, C, H, shifts, w)
    unfolded = unfolded.permute(0, 1, 4, 2, 3).reshape(batch, channels * wide, rows * shifts)
    lines = templates.permute(0, 1, 3, 2, 4).reshape(batch, turns * high, channels * wide)
    # every line of the template against every line of the area; a shift s adds up line i against line i + s, which
    # lie one line farther each in memory and so under one another in rows of H + 1 lines
    products = torch.matmul(lines, unfolded).reshape(batch, turns, high * rows, shifts)
    skewed = F.pad(products, (0, 0, 0, high)).reshape(batch, turns, high, rows + 1, shifts)
    return skewed[:, :, :, : rows - high + 1].sum(dim=2)


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
