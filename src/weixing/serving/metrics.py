"""Counts and times of the service in the form that Prometheus reads. Each service has a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """What is counted. The attributes are the counters; `page` is what Prometheus gets."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "weixing_requests", "Requests answered, by path and HTTP status.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "weixing_request_seconds", "From a request's head to the end of its answer.", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.under_way = Gauge("weixing_requests_under_way", "Requests not answered yet.", registry=registry)
        self.abandoned = Counter(
            "weixing_requests_abandoned", "Requests whose client left before the answer.", registry=registry
        )
        self.texts = Counter(
            "weixing_texts", "Texts computed, by model and task.", ["model", "task"], registry=registry
        )
        self.batch_texts = Histogram(
            "weixing_batch_texts", "Texts computed together, of one request or several.", ["model"],
            buckets=TEXTS, registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "weixing_batch_seconds", "Time to compute what is computed together.", ["model"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.queued = Gauge("weixing_queue_tokens", "Tokens waiting for a model.", ["model"], registry=registry)
        self.loads = Counter(
            "weixing_model_loads", "Models loaded; outcome: loaded or failed.", ["model", "outcome"], registry=registry
        )
        self.unloads = Counter(
            "weixing_model_unloads", "Models unloaded to make room for others.", ["model"], registry=registry
        )
        self.loaded = Gauge("weixing_models_loaded", "Models in memory.", registry=registry)

    def page(self) -> bytes:
        """All of them as text, format 0.0.4."""
        return generate_latest(self._registry)
