"""Models made ready to serve: loaded, and warmed up, so that no request waits for loops to be compiled."""

from collections.abc import Callable

from weixing.inference.model import Model, load


def loader(backend: str, precision: str) -> Callable[[str], Model]:
    """Loads a model by its name, for this back end and precision (`inference.model.load`)."""

    def ready(source: str) -> Model:
        model = load(source, backend, precision)
        model.features(["微型"])
        if model.bert.head is not None:
            model.fill_mask("[MASK]", 1)
        return model

    return ready
