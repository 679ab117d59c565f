"""微型 weixing: make, judge, ship and use families of compact Chinese encoders.

    import weixing
    model = weixing.load("runs/tiny")                 # or any other name of a model
    model.fill_mask("中国的首都是[MASK]京。", top_k=5)
    model.features(["输入任意文本内容"], pooling="mean")
    weixing.zoo["8/512"].parameters

Importing it is quick: torch is imported by `load`. The name `weixing.zoo` is the table of shapes, which stands for the
module of that name as well (``from weixing.zoo import Shape`` works as ever).
"""

from typing import TYPE_CHECKING

from weixing.zoo import ZOO as zoo

if TYPE_CHECKING:
    from weixing.inference.model import Model

__all__ = ["__version__", "load", "zoo"]
__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, when it is asked for: reading the installed package's description takes 20 ms."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("weixing")


def load(name: str, backend: str = "auto", precision: str = "auto") -> "Model":
    """The model called `name`, ready for `fill_mask` and `features`.

    Args:
        name: a folder in Hugging Face layout, a run folder, a hub id, or a shape (``2/128``: fresh random weights).
        backend, precision: what computes it, and how; see `weixing.inference.model.load`.

    Raises:
        UserError: no model has this name, its files are wrong, or there is no such backend or precision.
    """
    from weixing.inference.model import load

    return load(name, backend, precision)
