"""The text that Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from p2net_tf.serving.metrics import Metrics


def samples(metrics: Metrics) -> dict:
    """`(name, sorted values of the labels)` -> value, as Prometheus' own parser reads the text."""
    families = text_string_to_metric_families(metrics.text().decode("utf-8"))
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_requests_are_counted_by_interface_signature_and_code():
    metrics = Metrics()
    for api, code in (("grpc", "OK"), ("grpc", "OK"), ("rest", "NOT_FOUND"), ("rest", "OK")):
        metrics.requests.labels(api, "batched", code).inc()
    found = samples(metrics)
    assert found["p2net_serving_requests_total", "OK", "batched", "grpc"] == 2
    assert found["p2net_serving_requests_total", "NOT_FOUND", "batched", "rest"] == 1
    assert (metrics.answered("OK"), metrics.answered("NOT_FOUND"), metrics.answered("INTERNAL")) == (3, 1, 0)


def test_buckets_hold_what_lies_at_or_below_their_bound():
    metrics = Metrics()
    for rows in (1, 2, 2, 3, 100, 1000):
        metrics.batches.labels("s").observe(rows)
    found = samples(metrics)
    buckets = [
        found["p2net_serving_batch_rows_bucket", bound, "s"] for bound in ("1.0", "2.0", "4.0", "64.0")
    ]
    assert buckets == [1, 3, 4, 4]
    assert found["p2net_serving_batch_rows_bucket", "+Inf", "s"] == 6
    assert found["p2net_serving_batch_rows_sum", "s"] == 1108
    assert found["p2net_serving_batch_rows_count", "s"] == 6


def test_a_gauge_is_read_when_somebody_asks():
    metrics, depth = Metrics(), [3]
    metrics.gauge("p2net_serving_depth", "Of something.", lambda: depth[0])
    text = metrics.text().decode("utf-8")
    assert "# HELP p2net_serving_depth Of something.\n# TYPE p2net_serving_depth gauge\n" in text
    depth[0] = 5
    assert samples(metrics)["p2net_serving_depth",] == 5


def test_the_names_that_dashboards_know():
    text = Metrics().text().decode("utf-8")
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert {name: kind for name, kind in kinds.items() if not name.endswith("_created")} == {
        "p2net_serving_requests": "counter",  # without its `_total`
        "p2net_serving_request_seconds": "histogram",
        "p2net_serving_batch_rows": "histogram",
        "p2net_serving_batch_fallbacks": "counter",
    }


def test_two_servers_count_for_themselves():
    one, other = Metrics(), Metrics()
    one.fallbacks.inc()
    assert samples(one)["p2net_serving_batch_fallbacks_total",] == 1
    assert samples(other)["p2net_serving_batch_fallbacks_total",] == 0
