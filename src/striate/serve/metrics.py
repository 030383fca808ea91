"""What Prometheus reads at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        requests = "Requests by path and status; 499 where the client went away"
        self.requests = Counter("striate_requests", requests, ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "striate_request_seconds",
            "From a request's first byte to its answer's last",
            ["path"],
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.images = Counter("striate_images", "Images by outcome", ["outcome"], registry=self.registry)
        self.in_flight = Gauge("striate_images_in_flight", "Images taken in, not yet answered", registry=self.registry)
        self.held = Gauge("striate_held_bytes", "Bytes of uploads in memory", registry=self.registry)
        self.batch = Histogram(
            "striate_batch_images", "Images computed together", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.decode = Histogram(
            "striate_decode_seconds", "To decode and resize an image", buckets=SECONDS_BUCKETS, registry=self.registry
        )
        self.compute = Histogram(
            "striate_compute_seconds", "To compute a batch", buckets=SECONDS_BUCKETS, registry=self.registry
        )

    def observe(self, what: str, value: float) -> None:
        """A Batching's figures."""
        {"batch": self.batch, "decode": self.decode, "compute": self.compute}[what].observe(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)
