"""The tensors that a bundle's graphs take and give, and how an ONNX file's are compared with them."""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.bundle.constraints import NonEmptyText

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph; a shape's strings are dynamic axes."""

    name: NonEmptyText
    dtype: NonEmptyText
    shape: Shape


@dataclass(frozen=True)
class GraphSpec:
    """Inputs and outputs of one ONNX file."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def describe_difference(expected: GraphSpec, found: GraphSpec) -> str:
    """The first tensor that differs, in words; empty where none does."""
    for kind, wanted, got in (
        ("input", expected.inputs, found.inputs),
        ("output", expected.outputs, found.outputs),
    ):
        names_wanted, names_got = [tensor.name for tensor in wanted], [tensor.name for tensor in got]
        if names_wanted != names_got:
            return f"{kind}s are {', '.join(names_got) or 'none'}; must be {', '.join(names_wanted)}"
        for a, b in zip(wanted, got, strict=True):
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                return f"{kind} {a.name} is {b.dtype} {_shape_text(b.shape)}; must be {a.dtype} {_shape_text(a.shape)}"
    return ""


def _shape_text(shape: Shape) -> str:
    return "(" + ", ".join(str(axis) for axis in shape) + ")"
