"""A served model as one of the runtimes that the parity report compares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2net_tf.export.runtimes import PoseFunction
from p2net_tf.serving.client import GrpcClient
from p2net_tf.serving.server import Server, ServeSettings

GRPC = "gRPC server"


@contextmanager
def served(version: Path) -> Iterator[dict[str, PoseFunction]]:
    """Name -> `PoseFunction` through the development server, which serves a version folder meanwhile.

    Raises:
        ServingError: the version cannot be served.
    """
    with Server(ServeSettings(version.parent, grpc_port=0, rest_port=0)) as server:
        client = GrpcClient(server.grpc_address, deadline=120.0)

        def pose(image_bytes, boxes):
            inputs = {"image_bytes": image_bytes, "boxes": boxes}
            found = client.predict("serving_default", inputs, int(version.name))
            return found["keypoints"], found["keypoint_scores"], found["scores"]

        try:
            yield {GRPC: pose}
        finally:
            client.close()
