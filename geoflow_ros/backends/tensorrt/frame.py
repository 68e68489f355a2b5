"""What is done on the GPU for one camera frame, as data: which memory, which engines, in which order.

The program is the same whether it is enqueued step by step or captured in a CUDA graph, and needs no GPU to be read:
the tests run it with numpy and onnxruntime, and compare with the refinement on the host.

TensorRT asks for one execution context per captured graph, none of them changed afterwards ("CUDA Graphs" in its
developer guide). So a context has fixed shapes and addresses, and the refinement has two that pass the hypotheses back
and forth between two places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from geoflow_ros.bundle.methods import GROUND_ENCODER, HEAD
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec

GROUND, FORTH, BACK, PROBE = "ground", "forth", "back", "probe"
"""The execution contexts: the camera image's encoder, the head for odd and even refinements, the head at the probes."""

STARTED, ENCODED, REFINED, PROBED = "started", "encoded", "refined", "probed"

TOKENS = "satellite_tokens"
PATH = "path"
"""On the host: (R, B, N, 2), the hypotheses after each refinement."""


@dataclass(frozen=True)
class Upload:
    """Copies a buffer's host side to the device."""

    buffer: str


@dataclass(frozen=True)
class Download:
    """Copies a buffer to the host: to its own host side, or to one row of another array."""

    buffer: str
    into: str | None = None
    row: int = 0


@dataclass(frozen=True)
class Enqueue:
    """Runs a context."""

    context: str


@dataclass(frozen=True)
class Mark:
    """Takes the time."""

    event: str


Step = Upload | Download | Enqueue | Mark
Program = tuple[Step, ...]


@dataclass(frozen=True)
class Sizes:
    """The counts of a frame: B cameras, N hypotheses, K probes, R refinements."""

    cameras: int
    hypotheses: int
    probes: int
    iterations: int


@dataclass(frozen=True)
class Binding:
    """A context: which graph it runs, with how many hypotheses, and the buffer of each of its tensors."""

    graph: str
    count: int
    buffers: Mapping[str, str]


def sized(tensor: TensorSpec, cameras: int, count: int = 0) -> tuple[int, ...]:
    """A tensor's shape for B = `cameras` and N = `count`."""
    axes = {"B": cameras, "N": count}
    return tuple(axes[axis] if isinstance(axis, str) else axis for axis in tensor.shape)


class FrameLayout:
    """Contexts, buffers and programs for frames of these sizes.

    Args:
        tensors: of the bundle's graphs.
        sizes: of the frame.

    Attributes:
        bindings: context to its graph and buffers.
        buffers: name to type and shape of everything on the device.
    """

    def __init__(self, tensors: Mapping[str, GraphSpec], sizes: Sizes) -> None:
        head = tensors[HEAD]
        self.tensors, self.sizes = tensors, sizes
        self.probed = {tensor.name: f"probed.{tensor.name}" for tensor in head.outputs}
        unused = {tensor.name: f"unused.{tensor.name}" for tensor in head.outputs}
        shared = {"f_vis": "f_vis", "step": "step"}
        self.bindings: dict[str, Binding] = {
            GROUND: Binding(GROUND_ENCODER, 0, {name: name for name in ("ground", TOKENS, "f_vis")}),
            FORTH: Binding(HEAD, sizes.hypotheses, {**unused, **shared, "hypotheses": "odd", "refined": "even"}),
            BACK: Binding(HEAD, sizes.hypotheses, {**unused, **shared, "hypotheses": "even", "refined": "odd"}),
            PROBE: Binding(HEAD, sizes.probes, {**self.probed, **shared, "hypotheses": "probes"}),
        }
        self.buffers: dict[str, tuple[str, tuple[int, ...]]] = {}
        for binding in self.bindings.values():
            for tensor in (*tensors[binding.graph].inputs, *tensors[binding.graph].outputs):
                shape = sized(tensor, sizes.cameras, binding.count)
                self.buffers[binding.buffers[tensor.name]] = (tensor.dtype, shape)

    def frame(self) -> Program:
        """Host: `ground`, `odd` (the start), `probes` and `step` → `path` and `probed.*`; the tokens are in place."""
        steps: list[Step] = [Mark(STARTED), Upload("ground"), Upload("odd"), Upload("probes"), Upload("step")]
        steps += [Enqueue(GROUND), Mark(ENCODED)]
        for iteration in range(self.sizes.iterations):
            context = BACK if iteration % 2 else FORTH
            steps += [Enqueue(context), Download(self.bindings[context].buffers["refined"], PATH, iteration)]
        steps += [Mark(REFINED), Enqueue(PROBE), *map(Download, self.probed.values()), Mark(PROBED)]
        return tuple(steps)

    def encode(self) -> Program:
        """Host: `ground` → `f_vis`; the tokens are in place."""
        return (Upload("ground"), Enqueue(GROUND), Download("f_vis"))

    def ask(self) -> Program:
        """Host: `f_vis`, `probes` and `step` → `probed.*`."""
        return (Upload("f_vis"), Upload("probes"), Upload("step"), Enqueue(PROBE), *map(Download, self.probed.values()))
