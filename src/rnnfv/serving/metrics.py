"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Metrics"]

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one service, apart from those of any other in the process.

    Attributes
    ----------
    requests : Counter of (path, status)
    seconds : Histogram of (path,)
    batches : Histogram of (model,)
        Requests that went through a model together.
    waiting : Gauge of (model,)
        Requests without an answer yet.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        ProcessCollector(registry=registry)
        self.requests = Counter("rnnfv_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram("rnnfv_request_seconds", "Seconds until the answer.", ["path"], registry=registry)
        self.batches = Histogram(
            "rnnfv_batch_size", "Requests that a model saw together.", ["model"], buckets=_SIZES, registry=registry
        )
        self.waiting = Gauge("rnnfv_waiting", "Requests without an answer yet.", ["model"], registry=registry)

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
