"""Ranges of a manifest's values, stated with their types; msgspec checks them when a manifest is read."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
# The smallest normal number and not gt=0.0: for that, msgspec compares with the smallest denormal one, which is zero in
# a thread that onnxruntime or OpenVINO has told to take denormals for zero.
PositiveNumber = Annotated[float, Meta(ge=sys.float_info.min, le=sys.float_info.max)]
NumberFromZero = Annotated[float, Meta(ge=0.0, le=sys.float_info.max)]
FiniteNumber = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NonEmptyText = Annotated[str, Meta(min_length=1)]
