"""TensorFlow Serving's gRPC services over a `Core`: PredictionService and ModelService."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from p2net_tf.serving.core import Core, Visit
from p2net_tf.serving.defaults import LARGEST_MESSAGE
from p2net_tf.serving.responses import metadata_response, model_of, spec_of, status_response
from p2net_tf.serving.status import Code, RequestError, ServingError, invalid
from p2net_tf.serving.tensors import arrays_of_protos

_API = "grpc"


class GrpcServer:
    """A gRPC server at `host:port`; a port of 0 takes a free one.

    Args:
        threads: requests that are inside at the same time, waiting ones included.

    Raises:
        ServingError: the port is taken.
    """

    def __init__(self, core: Core, host: str, port: int, threads: int):
        options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            # Or a second server would share the port without a word.
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="grpc"), options=options,
            maximum_concurrent_rpcs=threads,
        )  # fmt: skip
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(core), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            raise ServingError(f"cannot listen on {host}:{port}; take another gRPC port") from None
        self._server.start()

    def stop(self, seconds: float) -> None:
        """Takes no more requests, gives those inside `seconds`."""
        self._server.stop(seconds).wait()


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, core: Core):
        self._core = core

    def Predict(self, request, context):
        return _answer(self._core, context, lambda visit: self._predict(request, visit, context))

    def GetModelMetadata(self, request, context):
        return _answer(self._core, context, lambda _: metadata_response(self._core, request))

    def Classify(self, request, context):
        _refuse(context, "Classify")

    def Regress(self, request, context):
        _refuse(context, "Regress")

    def MultiInference(self, request, context):
        _refuse(context, "MultiInference")

    def _predict(self, request, visit: Visit, context) -> predict_pb2.PredictResponse:
        model = model_of(self._core, request)
        signature = model.signature(request.model_spec.signature_name)
        visit.signature = signature.name
        names = _wanted_outputs(signature.outputs, request.output_filter)
        arrays = arrays_of_protos(signature, request.inputs, self._core.max_rows)
        outputs = self._core.run(model, signature, arrays, context.time_remaining())
        response = predict_pb2.PredictResponse(model_spec=spec_of(self._core.name, model, signature.name))
        for name in names:
            response.outputs[name].CopyFrom(_proto(outputs[name]))
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, core: Core):
        self._core = core

    def GetModelStatus(self, request, context):
        return _answer(self._core, context, lambda _: status_response(self._core, request))

    def HandleReloadConfigRequest(self, request, context):
        _refuse(context, "HandleReloadConfigRequest")


def _answer(core: Core, context, handle: Callable[[Visit], Message]) -> Message:
    try:
        with core.visit(_API) as visit:
            return handle(visit)
    except RequestError as error:
        context.abort(error.code, error.message)


def _refuse(context, method: str) -> None:
    context.abort(Code.UNIMPLEMENTED, f"this development server has no {method}")


def _wanted_outputs(outputs: Iterable[str], output_filter) -> list[str]:
    """All outputs, or those of the filter."""
    names, wanted = list(outputs), list(output_filter)
    unknown = [name[:80] for name in wanted if name not in names]
    if unknown or len(set(wanted)) < len(wanted):
        words = f"unknown: {', '.join(unknown[:8])}" if unknown else "the filter names one of them twice"
        raise invalid(f"outputs are {', '.join(names)}; {words}")
    return wanted or names


def _proto(array: np.ndarray):
    return tf.make_tensor_proto(array, shape=array.shape)
