"""Answers about a model, in TensorFlow Serving's messages; gRPC sends them as they are, REST as JSON."""

from __future__ import annotations

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from p2net_tf.serving.core import Core
from p2net_tf.serving.model import Model
from p2net_tf.serving.status import Code, RequestError, invalid

_SIGNATURES = "signature_def"
_STATES = get_model_status_pb2.ModelVersionStatus.State


def model_of(core: Core, request) -> Model:
    """The model that the `model_spec` of a request names.

    Raises:
        RequestError: INVALID_ARGUMENT or NOT_FOUND.
    """
    spec = _model_spec(request)
    version = spec.version.value if spec.HasField("version") else None
    return core.model(spec.name, version, spec.version_label)


def metadata_response(core: Core, request) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a model.

    Raises:
        RequestError: INVALID_ARGUMENT or NOT_FOUND.
    """
    model = model_of(core, request)
    if list(request.metadata_field) != [_SIGNATURES]:
        raise invalid(f"metadata_field must be ['{_SIGNATURES}'], not {list(request.metadata_field)[:8]}")
    response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec_of(core.name, model))
    definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=model.definitions)
    response.metadata[_SIGNATURES].Pack(definitions)
    return response


def status_response(core: Core, request) -> get_model_status_pb2.GetModelStatusResponse:
    """The state of one version, or of all that are known.

    Raises:
        RequestError: INVALID_ARGUMENT or NOT_FOUND.
    """
    spec = _model_spec(request)
    core.check_name(spec.name)
    found, version = core.versions.status(), None
    if spec.version_label:
        version = core.versions.get(label=spec.version_label).version
    elif spec.HasField("version"):
        version = spec.version.value
    if version is not None:
        found = [entry for entry in found if entry.version == version]
        if not found:
            raise RequestError(Code.NOT_FOUND, f"nothing is known of version {version}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for entry in found:
        status = response.model_version_status.add(version=entry.version, state=_STATES.Value(entry.state))
        status.status.error_code = (Code.UNKNOWN if entry.error else Code.OK).value[0]
        status.status.error_message = entry.error
    return response


def spec_of(name: str, model: Model, signature: str = "") -> model_pb2.ModelSpec:
    """Which model answers: an answer says its version, and the signature where one ran."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = model.version
    return spec


def _model_spec(request) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid("the request has no model_spec")
    return request.model_spec
