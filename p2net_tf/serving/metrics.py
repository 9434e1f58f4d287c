"""What the server counts, for Prometheus to scrape."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a latency."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the buckets of a batch size."""


class Metrics:
    """The metrics of one server; several in a process do not share them."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "p2net_serving_requests_total",
            "Requests answered.",
            ("api", "signature", "code"),
            registry=self.registry,
        )
        self.latency = Histogram(
            "p2net_serving_request_seconds",
            "From request to answer.",
            ("api", "signature"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "p2net_serving_batch_rows",
            "Rows that the model ran at once.",
            ("signature",),
            buckets=ROWS,
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "p2net_serving_batch_fallbacks_total",
            "Batches that failed and were run one by one.",
            registry=self.registry,
        )

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Adds a number that is looked up when somebody asks."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def answered(self, code: str) -> int:
        """Requests that were answered with `code`, over all interfaces and signatures."""
        (family,) = self.requests.collect()
        counts = [sample for sample in family.samples if sample.name.endswith("_total")]
        return int(sum(sample.value for sample in counts if sample.labels["code"] == code))

    def text(self) -> bytes:
        """Text exposition format 0.0.4."""
        return generate_latest(self.registry)
