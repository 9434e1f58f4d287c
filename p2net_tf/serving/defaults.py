"""What servers and clients agree on when nobody says otherwise."""

MODEL_NAME = "p2net"
GRPC_PORT, REST_PORT = 8500, 8501
"""Those of TensorFlow Serving's image."""
LARGEST_MESSAGE = 64 << 20
"""Bytes of a gRPC request or answer; gRPC itself answers RESOURCE_EXHAUSTED to larger ones."""
LARGEST_BODY = LARGEST_MESSAGE // 3 * 4 + (1 << 20)
"""Bytes of an HTTP body: base64 makes four of three, so that both interfaces take the same image."""
