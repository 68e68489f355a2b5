"""Ranges of a manifest's values, stated with their types; msgspec checks them when a manifest is read."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
PositiveNumber = Annotated[float, Meta(gt=0.0, le=sys.float_info.max)]
NumberFromZero = Annotated[float, Meta(ge=0.0, le=sys.float_info.max)]
NonEmptyText = Annotated[str, Meta(min_length=1)]
