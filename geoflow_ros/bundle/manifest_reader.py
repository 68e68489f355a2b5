"""Reads `manifest.json` into a `Manifest`, or says which entry is wrong and what to do.

msgspec holds each entry against the type of the `Manifest` field of the same name: a new entry of the format is a new
field there. What types cannot say, such as sizes that must fit each other, is checked here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from geoflow_ros.bundle.birds_eye import MODE, ZERO, BirdsEyeModel
from geoflow_ros.bundle.evidence import SIGNS_OF, Evidence
from geoflow_ros.bundle.manifest import (
    ALIGNMENTS,
    CAMERA_MODELS,
    DIRECTION_FAMILIES,
    FORMAT_VERSION,
    OWN_ENTRIES,
    Manifest,
)
from geoflow_ros.bundle.methods import (
    BIRDS_EYE,
    ENCODER_STRIDE,
    GEOFLOW,
    HEAD,
    METHODS,
    birds_eye_tensors,
    expected_tensors,
)
from geoflow_ros.bundle.precision import LARGEST_CHANGE
from geoflow_ros.bundle.tensors import GraphSpec, describe_difference
from geoflow_ros.errors import BundleError, GeoFlowError

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "a truth value",
    "object": "an object",
    "array": "a list",
}
"""Names of msgspec's types in its messages, as a reader of JSON knows them."""
_WORDS = {
    "Expected": "must be",
    ", got": ", not",
    " of length >= 1": " that is not empty",
    f" <= {sys.float_info.max}": " that is finite",
    f" >= {sys.float_info.min}": " above 0",
    " >= ": " of at least ",
}
"""The rest of its messages; longer ones before those that are a part of them."""


def read_manifest(path: Path) -> Manifest:
    """Reads and checks a `manifest.json`.

    Raises:
        BundleError: it cannot be read, is not JSON, is of another format version, lacks or misnames an entry, or an
            entry has a value that no model can have.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except ValueError as error:
        raise BundleError(f"{path} is damaged, not JSON ({error}): copy or export the bundle again") from error
    try:
        manifest = _convert_manifest(content)
        _check_names(manifest)
        _check_sizes(manifest)
        _check_tensors(manifest)
    except GeoFlowError as error:
        raise BundleError(f"{path}: {error}; copy or export the bundle again") from error
    return manifest


def _convert_manifest(content: Any) -> Manifest:
    if not isinstance(content, dict):
        raise BundleError("its content must be an object")
    version = _convert(content.get("format_version", msgspec.UNSET), int, "format_version")
    if version != FORMAT_VERSION:
        raise BundleError(f"its format version is {version}, this geoflow_ros reads {FORMAT_VERSION}")
    method = _convert(content.get("method", GEOFLOW), str, "method")
    if method not in METHODS:
        raise BundleError(f"'method' is '{method}', known are {', '.join(METHODS)}")
    types = get_type_hints(Manifest, include_extras=True)
    types["birds_eye"], types["evidence"] = BirdsEyeModel, Evidence  # where they are entries at all
    for owner in METHODS:
        for name in OWN_ENTRIES[owner] if owner != method else ():
            if name in content and name != "method":
                raise BundleError(f"'{name}' is an entry of {owner} models, and this is one of {method}")
            del types[name]
    _refuse_unknown(content, {**types, "method": str}, "")
    required = {entry.name for entry in fields(Manifest) if _has_no_default(entry)} | set(OWN_ENTRIES[method])
    return Manifest(
        **{
            name: _convert(content.get(name, msgspec.UNSET), kind, name)
            for name, kind in types.items()
            if name in content or name in required
        }
    )


def _has_no_default(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Converts one entry, a mapping's values one by one so that a message names the key.

    Args:
        value: what the JSON file holds; `msgspec.UNSET` where it holds nothing.
        kind: the type that it must have.
        where: the entry's dotted path.

    Raises:
        BundleError: it has another type, or a value outside the type's range.
        InputError: values that do not go together.
    """
    if value is msgspec.UNSET:
        raise BundleError(f"'{where}' is missing")
    if get_origin(kind) is Mapping and isinstance(value, dict):
        item_kind = get_args(kind)[1]
        return MappingProxyType({key: _convert(item, item_kind, f"{where}.{key}") for key, item in value.items()})
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BundleError(_explain(str(error), where)) from error
    _refuse_unknown(value, msgspec.to_builtins(converted), where)
    return converted


def _refuse_unknown(content: Any, known: Any, where: str) -> None:
    """Refuses what a file says and a value made from it does not."""
    if isinstance(content, dict):
        for key, value in content.items():
            path = f"{where}.{key}" if where else key
            if key not in known:
                raise BundleError(f"'{path}' is not an entry of format {FORMAT_VERSION}")
            if isinstance(known[key], dict | list | tuple):
                _refuse_unknown(value, known[key], path)
    elif isinstance(content, list):
        for index, (item, known_item) in enumerate(zip(content, known, strict=True)):
            _refuse_unknown(item, known_item, f"{where}.{index}")


def _explain(message: str, where: str) -> str:
    """Says a message of msgspec, such as "Expected `int` >= 1 - at `$.size_px`", in this format's words."""
    reason, _, path = message.partition(" - at ")
    steps = re.findall(r"[^.\[\]`$]+", path)
    missing = re.fullmatch(r"Object missing required field `(.+)`", reason)
    if missing:
        return f"'{'.'.join([where, *steps, missing[1]])}' is missing"
    reason = re.sub(r"`([a-z |]+)`", lambda match: _in_words(match[1]), reason)
    for words, ours in _WORDS.items():
        reason = reason.replace(words, ours)
    return f"'{'.'.join([where, *steps])}' {reason}"


def _in_words(types: str) -> str:
    """Says a type, or alternatives such as "float | null"."""
    return " or ".join(_TYPES.get(name, name) for name in types.split(" | "))


def _check_names(manifest: Manifest) -> None:
    """Names are those that this library knows."""
    chosen = {
        "camera.model": (manifest.camera.model, CAMERA_MODELS),
        "alignment": (manifest.alignment, ALIGNMENTS),
        "direction_family": (manifest.direction_family, DIRECTION_FAMILIES),
    }
    if manifest.birds_eye is not None:
        chosen["birds_eye.flow_start"] = manifest.birds_eye.flow_start, ("", MODE, ZERO)
    for index, check in enumerate(manifest.precision_checks):
        chosen[f"precision_checks.{index}.precision"] = (check.precision, tuple(LARGEST_CHANGE))
    if manifest.evidence is not None and set(manifest.evidence.weights) != set(SIGNS_OF[manifest.method]):
        raise BundleError(f"'evidence.weights' must be of {', '.join(SIGNS_OF[manifest.method])}")
    for where, (name, known) in chosen.items():
        if name not in known:
            raise BundleError(f"'{where}' is '{name}', known are {', '.join(known)}")


def _check_sizes(manifest: Manifest) -> None:
    """The network can take images of these sizes, and the search square lies in the patch."""
    satellite, ground = manifest.satellite, manifest.ground
    for name, size in (
        ("satellite.size_px", satellite.size_px),
        ("ground.height_px", ground.height_px),
        ("ground.width_px", ground.width_px),
    ):
        if manifest.method == GEOFLOW and size % ENCODER_STRIDE:
            raise BundleError(f"'{name}' is {size}, not a multiple of {ENCODER_STRIDE}")
    if manifest.method == BIRDS_EYE:
        _ = manifest.geometry  # which says what does not go together
    if 2.0 * manifest.search_radius_m > satellite.size_px * satellite.ground_resolution_m:
        raise BundleError(f"the search radius of {manifest.search_radius_m:g} m reaches outside the satellite patch")


def _check_tensors(manifest: Manifest) -> None:
    """The declared tensors are those that follow from the declared sizes."""
    for graph in manifest.graphs:
        if graph not in manifest.tensors:
            raise BundleError(f"'tensors.{graph}' is missing")
    for graph in manifest.tensors:
        if graph not in manifest.graphs:
            raise BundleError(f"'tensors.{graph}' is not a graph of {manifest.method} models")
    expected = _geoflow_tensors(manifest) if manifest.birds_eye is None else _birds_eye_tensors(manifest)
    for graph in manifest.graphs:
        difference = describe_difference(expected[graph], manifest.tensors[graph])
        if difference:
            raise BundleError(f"'tensors.{graph}': {difference}")


def _geoflow_tensors(manifest: Manifest) -> dict[str, GraphSpec]:
    head_inputs = manifest.tensors[HEAD].inputs
    if not head_inputs or len(head_inputs[0].shape) != 2 or not isinstance(head_inputs[0].shape[1], int):
        raise BundleError("'tensors.head.inputs' must begin with f_vis (B, d)")
    return expected_tensors(
        manifest.satellite.size_px,
        manifest.ground.height_px,
        manifest.ground.width_px,
        manifest.feature_size,
        manifest.has_orientation,
    )


def _birds_eye_tensors(manifest: Manifest) -> dict[str, GraphSpec]:
    model = manifest.birds_eye
    assert model is not None
    channels = model.fine_channels, model.coarse_channels, model.feature_channels
    return birds_eye_tensors(manifest.geometry, *channels, has_flow=bool(model.flow_start))
