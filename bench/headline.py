"""How many tokens recipe `weixing` needs for what recipe `uer` reaches, from lines of `bench.quality`. Pure."""

import math
from typing import Any

Line = dict[str, Any]


def loss(line: Line) -> float:
    """Held-out loss at the end of the decay, on rows of the layout on which it is lower."""
    return min(result["loss"] for result in line["held_out"].values())


def tokens_needed(lines: list[Line], goal: float) -> float | None:
    """Tokens of a whole run, its decay included, that ends at `goal`.

    Between two runs the loss is taken as a line over the logarithm of the tokens. If the shortest run is below `goal`
    already, its tokens: it would need no more. None: no run gets there.
    """
    runs = sorted((line["tokens"], loss(line)) for line in lines)
    reached = next((number for number, (_, end) in enumerate(runs) if end <= goal), None)
    if reached is None:
        return None
    tokens, end = runs[reached]
    if not reached:
        return float(tokens)
    before, higher = runs[reached - 1]
    return float(math.exp(math.log(before) + math.log(tokens / before) * (higher - goal) / (higher - end)))


def headline(lines: list[Line]) -> str:
    """What the runs reached, and the ratio of tokens, as text."""
    uer, own = ([line for line in lines if line["recipe"] == recipe] for recipe in ("uer", "weixing"))
    text = [
        f"{line['recipe']:8} {line['options'].get('--learning-rate', ''):5} {line['tokens'] / 1e6:6.2f} M tokens "
        f"{line['seconds'] / 60:5.1f} min  held-out loss {loss(line):.3f}"
        for line in sorted(lines, key=lambda line: (line["recipe"], line["tokens"]))
    ]
    text += [ratio(line, own) for line in uer]
    return "\n".join(text)


def ratio(line: Line, own: list[Line]) -> str:
    """How many times fewer tokens runs of recipe `weixing` need for what a run of recipe `uer` reaches."""
    goal, rate = loss(line), line["options"]["--learning-rate"]
    what = f"{goal:.3f}, where recipe uer is after {line['tokens'] / 1e6:.1f} M tokens at {rate}"
    needed = tokens_needed(own, goal)
    if needed is None:
        longest = max(each["tokens"] for each in own)
        return f"{what}, is not reached by recipe weixing after {longest / 1e6:.2f} M"
    shortest = needed == min(each["tokens"] for each in own)
    less, more = ("at most ", " or more") if shortest else ("", "")
    return f"{what}: recipe weixing needs {less}{needed / 1e6:.2f} M, {line['tokens'] / needed:.0f} times fewer{more}"
