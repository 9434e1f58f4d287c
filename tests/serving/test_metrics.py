"""The text that Prometheus reads."""

from p2net_tf.serving.metrics import Counter, Histogram, Metrics


def test_counter():
    counter = Counter("requests", "Some.", ("api", "code"))
    counter.add("grpc", "OK")
    counter.add("grpc", "OK")
    counter.add("rest", 'a "b"\n\\')
    assert counter.lines() == [
        'requests{api="grpc",code="OK"} 2',
        'requests{api="rest",code="a \\"b\\"\\n\\\\"} 1',
    ]
    assert counter.total("OK") == counter.value("grpc", "OK") == 2


def test_buckets_hold_what_lies_at_or_below_their_bound():
    histogram = Histogram("rows", "Some.", (1, 2, 4), ("signature",))
    for value in (1, 2, 2, 3, 100):
        histogram.observe(value, "s")
    assert histogram.lines() == [
        'rows_bucket{signature="s",le="1"} 1',
        'rows_bucket{signature="s",le="2"} 3',
        'rows_bucket{signature="s",le="4"} 4',
        'rows_bucket{signature="s",le="+Inf"} 5',
        'rows_sum{signature="s"} 108',
        'rows_count{signature="s"} 5',
    ]


def test_every_metric_has_its_kind_and_help():
    metrics = Metrics()
    metrics.gauge("p2net_serving_depth", "Of something.", lambda: 0.5)
    text = metrics.text()
    assert "# HELP p2net_serving_depth Of something.\n# TYPE p2net_serving_depth gauge\n" in text
    assert text.endswith("p2net_serving_depth 0.5\n")
    assert text.count("# TYPE") == text.count("# HELP") == 5
