"""`p2net serve` as people run it: a process with a command line and signals."""

import numpy as np
import pytest
from closed_form import diagonal, picture

from p2net_tf.serving.client import GrpcClient, RestClient
from p2net_tf.serving.process import ServerProcess
from p2net_tf.serving.status import ServingError

pytestmark = pytest.mark.slow


def test_it_serves_until_it_is_told_to_stop(model_dir):
    with ServerProcess(model_dir, "--name", "poses", "--label", "stable=1") as server:
        for client in (GrpcClient(server.grpc_address, "poses"), RestClient(server.rest_address, "poses")):
            answer = client.predict("whole_image", {"image_bytes": [picture(26, 13)]})
            np.testing.assert_allclose(answer["keypoints"][0], diagonal([0, 0, 26, 13]), rtol=1e-6)
        server.terminate()
        assert server.wait() == 0
        assert "development server" in server.log
        assert "2 requests were answered with OK" in server.log
        assert "Traceback" not in server.log


def test_what_is_wrong_is_one_line(tmp_path):
    with pytest.raises(ServingError, match="did not start: .*holds no version"):
        ServerProcess(tmp_path)
