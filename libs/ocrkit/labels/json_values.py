"""Values of JSON files nobody has checked, as what a reader wants of them."""

from collections.abc import Mapping

import numpy as np
import orjson
from numpy.typing import NDArray

from libs.ocrkit.labels.shapes import MAX_POINTS, finite


def as_object(value: object) -> Mapping[str, object]:
    """The object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The array; empty where it is none."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """A text as a person would write it; arrays and objects as JSON, nothing as nothing."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:.15g}" if isinstance(value, float) else str(value) if abs(value) < 10**18 else ""
        case _:
            try:
                return orjson.dumps(value).decode()
            except (orjson.JSONEncodeError, RecursionError):
                return ""


def as_number(value: object) -> float | None:
    """A finite number, also one in quotes; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return finite(float(value))
    except (ValueError, OverflowError):
        return None


def as_points(value: object) -> NDArray[np.float64] | None:
    """Points of an outline in any of its spellings: ``[[x, y], …]``, ``[x, y, …]``, ``[{"x": …, "y": …}, …]``.

    Returns:
        float64 (N, 2) with three points or more; None where one is broken.
    """
    listed = as_list(value)
    if not 0 < len(listed) <= 2 * MAX_POINTS:
        return None
    flat: list[object] = []
    for point in listed:
        if isinstance(point, list):
            flat += point if len(point) == 2 else [None]
        elif isinstance(point, dict):
            flat += [point.get("x"), point.get("y")]
        else:
            flat.append(point)
    numbers = [number for part in flat if (number := as_number(part)) is not None]
    if len(numbers) != len(flat) or len(numbers) % 2 or len(numbers) < 6:
        return None
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)


def is_true(value: object) -> bool:
    """Whether a flag is set, in any spelling."""
    return as_text(value).strip().lower() in {"1", "true", "yes"}
