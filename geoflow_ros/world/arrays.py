"""The few operations that numpy and torch spell differently, so that one renderer serves both.

Torch is never imported here: an array that is a torch tensor brings its own module.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = Any  # numpy.ndarray or torch.Tensor


def namespace(x: Array) -> Any:
    """Returns numpy or torch, whichever `x` is of."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]


def cast(x: Array, dtype: str) -> Array:
    """Returns `x` as another dtype ("float32", "int64", "uint8")."""
    return x.astype(dtype) if isinstance(x, np.ndarray) else x.to(getattr(namespace(x), dtype))


def from_numpy(x: npt.NDArray[Any], like: Array) -> Array:
    """Returns a numpy array as one of the library and on the device of `like`."""
    return x if isinstance(like, np.ndarray) else namespace(like).from_numpy(x).to(like.device)


def arange(n: int, like: Array) -> Array:
    """Returns 0..n-1 as int64 on the device of `like`."""
    return np.arange(n) if isinstance(like, np.ndarray) else namespace(like).arange(n, device=like.device)


def running_max(x: Array) -> Array:
    """Returns the maximum of all elements up to each, along the last axis."""
    return np.maximum.accumulate(x, axis=-1) if isinstance(x, np.ndarray) else x.cummax(dim=-1).values


def search(rows: Array, values: Array) -> Array:
    """Finds the first index in each ascending row (..., S) whose element is at least the value: (..., V) int64."""
    if not isinstance(rows, np.ndarray):
        return namespace(rows).searchsorted(rows.contiguous(), values.contiguous())
    s, v = rows.shape[-1], values.shape[-1]
    # one search over all rows at once: each row is lifted clear of the last
    low, high = min(rows.min(), values.min()) - 1.0, max(rows.max(), values.max()) + 1.0
    lift = (np.arange(rows.size // s) * float(high - low))[:, None]
    flat = (rows.reshape(-1, s) - low + lift).ravel()
    wanted = values.reshape(-1, v) - low + lift
    found = np.searchsorted(flat, wanted.ravel()).reshape(-1, v) - (np.arange(rows.size // s) * s)[:, None]
    return np.clip(found, 0, s).reshape(values.shape)


def take_last(x: Array, index: Array) -> Array:
    """Takes elements of `x` along its last axis."""
    return np.take_along_axis(x, index, -1) if isinstance(x, np.ndarray) else x.gather(-1, index)


def smallest(x: Array, k: int) -> Array:
    """Returns the indices of the `k` smallest elements along the last axis, in ascending order of value."""
    if isinstance(x, np.ndarray):
        part = (
            np.argpartition(x, k - 1, axis=-1)[..., :k]
            if k < x.shape[-1]
            else np.broadcast_to(np.arange(x.shape[-1]), x.shape)
        )
        order = np.argsort(np.take_along_axis(x, part, -1), axis=-1)
        return np.take_along_axis(part, order, -1)
    return x.topk(k, dim=-1, largest=False, sorted=True).indices


def where_true(mask: Array) -> tuple[Array, ...]:
    """Returns the indices of the true elements, one array per axis."""
    return np.nonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero(as_tuple=True)


def bilinear(images: Array, image: Array, column: Array, row: Array) -> Array:
    """Samples (n, 3) float32 colours of `images` (C, h, w, 3) uint8 at fractional pixels of the `image` (n,) given.

    Pixel centres are whole numbers; the caller keeps coordinates inside.
    """
    if isinstance(images, np.ndarray):
        out = np.empty((len(column), 3), np.float32)
        for k in np.unique(image) if len(images) > 1 else [0]:
            of = slice(None) if len(images) == 1 else image == k
            # OpenCV limits the rows of a map; a long list is folded into a table
            n = len(column[of])
            wide = 4096
            table = [
                np.pad(a[of], (0, -n % wide)).reshape(-1, wide).astype(np.float32, copy=False) for a in (column, row)
            ]
            out[of] = cv2.remap(images[k], table[0], table[1], cv2.INTER_LINEAR).reshape(-1, 3)[:n]
        return out
    c, h, w, _ = images.shape
    flat = images.reshape(-1, 3)
    i, j = column.floor(), row.floor()
    fu, fv = (column - i)[:, None], (row - j)[:, None]
    left, top = i.long().clamp(0, w - 1), j.long().clamp(0, h - 1)
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    upper, lower = (image * h + top) * w, (image * h + bottom) * w
    first = flat[upper + left].float().lerp(flat[upper + right].float(), fu)
    second = flat[lower + left].float().lerp(flat[lower + right].float(), fu)
    return first.lerp(second, fv)
