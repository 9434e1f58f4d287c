"""The development server of an exported model, its clients and the load generator.

The server speaks TensorFlow Serving's gRPC and REST interfaces, so clients written against it move to the
real one (`export/serving/`) without a change.
"""
