"""Comma lists of numbers, as options take them: parsing and its errors."""

import math

from weixing.errors import UserError


def whole_numbers(text: str, option: str, least: int = 1) -> list[int]:
    """``3,5,8`` as numbers, none twice.

    Raises:
        UserError: not a list of whole numbers of at least `least` (and below 2⁶³).
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if not all(least <= number < 2**63 for number in numbers):
        raise _wrong(text, option, f"whole numbers from {least}, such as 7 or 3,5,8")
    return list(dict.fromkeys(numbers))


def positive_numbers(text: str, option: str, *, distinct: bool = True) -> list[float]:
    """``3e-5,1e-4`` as numbers, if `distinct` none twice.

    Raises:
        UserError: not a list of finite numbers above 0.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(0 < number < math.inf for number in numbers):
        raise _wrong(text, option, "numbers above 0, such as 1e-4 or 3e-5,1e-4")
    return list(dict.fromkeys(numbers)) if distinct else numbers


def _wrong(text: str, option: str, accepted: str) -> UserError:
    return UserError(f"{text!r} is no such list", where=option, accepted=accepted + ", split by commas")
