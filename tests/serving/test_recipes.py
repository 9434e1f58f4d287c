"""The files of `export/serving/` against the schemas of what reads them; no container engine is needed."""

import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

FOLDER = Path(__file__).parents[2] / "export" / "serving"
MODEL_PATH = "/models/p2net"


# What tensorflow-serving-api leaves out: session_bundle_config.proto and monitoring_config.proto of 2.20.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, ".google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, ".google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, ".google.protobuf.Int64Value"),
        "num_batch_threads": (4, ".google.protobuf.Int64Value"),
        "thread_pool_name": (5, ".google.protobuf.StringValue"),
        "pad_variable_length_inputs": (7, "TYPE_BOOL"),
        "enable_large_batch_splitting": (8, ".google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, ".google.protobuf.Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, "TYPE_BOOL"), "path": (2, "TYPE_STRING")},
    "MonitoringConfig": {"prometheus_config": (1, ".recipes.PrometheusConfig")},
}


def new(name: str):
    """An empty message of `MESSAGES`."""
    file = descriptor_pb2.FileDescriptorProto(name="recipes.proto", package="recipes", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in MESSAGES.items():
        added = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            of_message = (
                {"type": "TYPE_MESSAGE", "type_name": kind} if kind.startswith(".") else {"type": kind}
            )
            added.field.add(name=field, number=number, label="LABEL_OPTIONAL", **of_message)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"recipes.{name}"))()


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def parse(name: str, message):
    return text_format.Parse(read(name), message)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(read("compose.yaml"))


@pytest.fixture(scope="module")
def kubernetes():
    """Kind -> document."""
    return {document["kind"]: document for document in yaml.safe_load_all(read("kubernetes.yaml"))}


def dockerfile() -> dict[str, list[str]]:
    """Instruction -> its arguments, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest.strip())
    return found


class TestTextProtos:
    def test_two_versions_with_labels(self):
        (model,) = parse(
            "models.config", model_server_config_pb2.ModelServerConfig()
        ).model_config_list.config
        assert (model.name, model.base_path, model.model_platform) == ("p2net", MODEL_PATH, "tensorflow")
        assert list(model.model_version_policy.specific.versions) == [1, 2]
        assert dict(model.version_labels) == {"stable": 1, "canary": 2}

    def test_the_policy_in_the_readme_parses_too(self):
        policy = re.search(r"```\n(model_version_policy .*?)\n```", read("README.md"), re.DOTALL)[1]
        model = text_format.Parse(policy, model_server_config_pb2.ModelConfig())
        assert model.model_version_policy.latest.num_versions == 1

    def test_batching(self):
        found = parse("batching_parameters.txt", new("BatchingParameters"))
        # The dimensions of `p2net serve`: 8 batches of 16 are its 128 requests.
        values = {field.name: value.value for field, value in found.ListFields()}
        assert values == {
            "max_batch_size": 16,
            "batch_timeout_micros": 2000,
            "max_enqueued_batches": 8,
            "num_batch_threads": 2,
        }

    def test_monitoring_is_where_prometheus_looks(self):
        found = parse("monitoring.config", new("MonitoringConfig"))
        assert found.prometheus_config.enable
        (job,) = yaml.safe_load(read("prometheus.yml"))["scrape_configs"]
        assert job["metrics_path"] == found.prometheus_config.path
        assert job["static_configs"] == [{"targets": ["p2net:8501"]}]

    def test_a_field_that_does_not_exist_would_be_seen(self):
        with pytest.raises(text_format.ParseError, match="max_batches"):
            text_format.Parse("max_batches { value: 1 }", new("BatchingParameters"))


class TestDockerfile:
    def test_the_image_is_pinned(self):
        assert dockerfile()["FROM"] == ["tensorflow/serving:2.20.0"]

    def test_files_that_flags_name_are_copied(self):
        found = dockerfile()
        *sources, target = found["COPY"][0].split()
        assert all((FOLDER / source).is_file() for source in sources)
        words = json.loads(found["ENTRYPOINT"][0]) + json.loads(found["CMD"][0])
        named = [word.split("=")[1] for word in words if "_file=" in word]
        assert len(named) == 3
        assert {path.removeprefix(target) for path in named} <= set(sources)

    def test_ports(self):
        words = json.loads(dockerfile()["ENTRYPOINT"][0])
        assert {"--port=8500", "--rest_api_port=8501"} <= set(words)
        assert dockerfile()["EXPOSE"] == ["8500 8501"]

    def test_it_is_not_root_and_takes_signals(self):
        found = dockerfile()
        assert found["USER"] == ["65534:65534"]
        assert json.loads(found["ENTRYPOINT"][0])[0] == "/usr/bin/tensorflow_model_server"


class TestCompose:
    def test_the_compose_specification(self, compose):
        jsonschema = pytest.importorskip("jsonschema", reason="schemas need the extra `test`")
        pytest.importorskip(
            "check_jsonschema", reason="the Compose specification comes with check-jsonschema"
        )
        file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
        validator = jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
        assert [error.message for error in validator.iter_errors(compose)] == []
        wrong = {**compose, "services": {"p2net": {"image": "x", "port": ["8500:8500"]}}}
        assert list(validator.iter_errors(wrong))

    def test_services(self, compose):
        services = compose["services"]
        assert services["p2net"]["ports"] == ["8500:8500", "8501:8501"]
        assert services["single"]["ports"] == ["8510:8500", "8511:8501"]
        assert services["single"]["command"] == ["--enable_batching=false"]
        assert "profiles" not in services["p2net"]
        for name in ("p2net", "single"):
            (volume,) = services[name]["volumes"]
            assert volume["target"] == MODEL_PATH
            assert volume["read_only"]
        image = services["p2net"]["image"].split(":")
        assert image[1] == dockerfile()["FROM"][0].split(":")[1]

    def test_prometheus_waits_for_a_healthy_server(self, compose):
        service = compose["services"]["prometheus"]
        assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", service["image"])
        assert service["depends_on"] == {"p2net": {"condition": "service_healthy"}}
        assert "HEALTHCHECK" in dockerfile()


class TestKubernetes:
    def test_the_api_of_kubernetes(self, kubernetes):
        validate = pytest.importorskip("kubernetes_validate", reason="schemas need the extra `test`")
        for document in kubernetes.values():
            for version in ("1.30", validate.latest_version()):
                validate.validate(document, version, strict=True)
        wrong = {**kubernetes["Deployment"], "spec": {**kubernetes["Deployment"]["spec"], "replica": 2}}
        with pytest.raises(validate.ValidationError):
            validate.validate(wrong, "1.30", strict=True)

    def test_everything_points_at_the_same_pods(self, kubernetes):
        deployment = kubernetes["Deployment"]["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        assert deployment["selector"]["matchLabels"] == labels
        assert kubernetes["Service"]["spec"]["selector"] == labels
        assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
        target = kubernetes["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (
            "Deployment",
            kubernetes["Deployment"]["metadata"]["name"],
        )

    def test_ports_and_probes(self, kubernetes):
        (container,) = kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == {"grpc": 8500, "rest": 8501}
        service = {port["targetPort"]: port["port"] for port in kubernetes["Service"]["spec"]["ports"]}
        assert service == ports
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/v1/models/p2net", "port": "rest"}
        assert container["volumeMounts"][0]["mountPath"] == MODEL_PATH

    def test_a_pod_lives_longer_than_its_farewell(self, kubernetes):
        pod = kubernetes["Deployment"]["spec"]["template"]["spec"]
        farewell = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] > farewell + 30


class TestScripts:
    @pytest.mark.parametrize(("model", "status"), [("p2net", 0), ("other", 1)])
    def test_the_health_check_asks_for_an_available_version(self, server, model, status):
        host, port = server.rest_address.split(":")
        command = ["bash", str(FOLDER / "healthcheck.sh"), host, port, model]
        assert subprocess.run(command, timeout=30).returncode == status

    def test_the_health_check_without_a_server(self):
        command = ["bash", str(FOLDER / "healthcheck.sh"), "127.0.0.1", "1", "p2net"]
        assert subprocess.run(command, timeout=30, stderr=subprocess.DEVNULL).returncode == 1

    def test_the_load_test_calls_verbs_that_exist(self):
        from typer.testing import CliRunner

        from p2net_tf.cli import app

        calls = re.findall(r"^p2net (\w+) (\w+)(.*)$", read("load_test.sh"), re.MULTILINE)
        assert [call[:2] for call in calls] == [("bench", "load")] * 2
        options = set(re.findall(r"--[a-z-]+", "".join(call[2] for call in calls)))
        help_text = CliRunner().invoke(app, ["bench", "load", "--help"], env={"COLUMNS": "200"}).output
        assert {option for option in options if option not in help_text} == set()
