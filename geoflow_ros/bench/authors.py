"""The same network run as the authors' release evaluates it, and in plain torch with each image encoded once.

The release (AyeshAbuLehyeh/GeoFlow, commit 60df6d8) repeats both images N times and gives that batch to the whole
network once for each of R iterations: both encoders run N x R times for one answer. Both ways here are torch in float32
as it comes: no compilation, no folded batch norms, contiguous NCHW images as a data loader gives them. Decoding,
resizing and normalizing are not counted, nor is a covariance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from geoflow_ros.arrays import Float32Array
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.inference.inputs import fit_image
from geoflow_ros.inference.irs import sample_hypotheses

if TYPE_CHECKING:
    from torch import Tensor

    from geoflow_ros.model import GeoFlow

_WARM_UP = 2


@dataclass(frozen=True)
class AuthorsWay:
    """One frame with N hypotheses and R iterations.

    Attributes:
        pass_ms: median of one iteration: both encoders on N images each.
        passes: how many were really run.
        frame_ms: of a whole frame.
        whole_frames: how many whole frames were run; at 0, `frame_ms` is R times `pass_ms`, not measured.
    """

    pass_ms: float
    passes: int
    frame_ms: float
    whole_frames: int


@dataclass(frozen=True)
class EncodeOnce:
    """Each image encoded once, hypotheses in one batch: medians in ms of a frame on a kept and on a new patch."""

    kept_ms: float
    new_ms: float
    frames: int


class TorchNetwork:
    """The network and one pair of images, ready to be run.

    Args:
        model: in evaluation mode, on the CPU.
        bundle: for the sizes.
        pictures: that it looks at.
        settings: N, R and step.
        threads: of torch, for the whole process; torch's own choice where None.
    """

    def __init__(
        self, model: GeoFlow, bundle: Bundle, pictures: Pictures, settings: IrsSettings, threads: int | None = None
    ) -> None:
        import torch

        from geoflow_ros.model import normalize_images

        if threads is not None:
            torch.set_num_threads(threads)
        self._torch, self._model, self._settings = torch, model, settings
        ground = fit_image(pictures.decode(), bundle.manifest)
        self._ground, self._satellite = (
            normalize_images(torch.tensor(image[None])).contiguous() for image in (ground, pictures.satellite)
        )
        self._start = torch.from_numpy(sample_hypotheses(1, settings.hypotheses, 0)[0])  # (N, 2)

    def authors_way(
        self, frames: int, passes: int, tick: Callable[[], object] = lambda: None
    ) -> tuple[AuthorsWay, Float32Array]:
        """Times whole frames or, where `frames` is 0, so many passes, after one that is not counted.

        Args:
            frames: whole frames, each of R passes.
            passes: that are run where no whole frame is.
            tick: called after every pass.

        Returns:
            The times, and the answer (2,) in search radii after the passes of the last frame.
        """
        each: list[float] = []
        whole: list[float] = []
        with self._torch.inference_mode():
            count, step = self._settings.hypotheses, self._settings.step
            satellites = self._satellite.repeat_interleave(count, dim=0)
            grounds = self._ground.repeat_interleave(count, dim=0)
            self._model(satellites, grounds, self._start[:, None])
            for _ in range(max(1, frames)):
                begin = perf_counter()
                q = self._start
                for _ in range(self._settings.iterations if frames else passes):
                    before = perf_counter()
                    displacement = self._model(satellites, grounds, q[:, None])  # N frames of one hypothesis
                    q = q + (step * displacement.mu_log_r.exp()[..., None] * displacement.direction)[:, 0]
                    each.append(1e3 * (perf_counter() - before))
                    tick()
                answer = q.mean(dim=0).numpy()
                whole.append(1e3 * (perf_counter() - begin))
        pass_ms = float(np.median(each))
        frame_ms = float(np.median(whole)) if frames else pass_ms * self._settings.iterations
        return AuthorsWay(pass_ms, len(each), frame_ms, frames), answer

    def encode_once(self, frames: int, tick: Callable[[], object] = lambda: None) -> tuple[EncodeOnce, Float32Array]:
        """Times frames that encode the camera image once, on a kept patch and with the patch encoded too.

        Returns:
            The times, and the answer (2,) in search radii.
        """
        kept, new = [], []
        with self._torch.inference_mode():
            for index in range(_WARM_UP + frames):
                begin = perf_counter()
                tokens = self._model.satellite_tokens(self._satellite)
                encoded = perf_counter()
                answer = self._refined(tokens)
                done = perf_counter()
                if index >= _WARM_UP:
                    kept.append(1e3 * (done - encoded))
                    new.append(1e3 * (done - begin))
                    tick()
        return EncodeOnce(float(np.median(kept)), float(np.median(new)), frames), answer

    def _refined(self, tokens: Tensor) -> Float32Array:
        f_vis = self._model.f_vis(self._ground, tokens)
        q = self._start[None]
        for _ in range(self._settings.iterations):
            q = self._model.refine(f_vis, q, self._settings.step)
        answer: Float32Array = q.mean(dim=1)[0].numpy()
        return answer
