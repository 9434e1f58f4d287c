"""TensorFlow's facts, asked for in a process of its own.

An import can end a process (a CPU without the instructions of the wheel, a broken driver), and the doctor is
to live on. Run as `python -m p2net_tf.doctor.probe`, it prints one JSON document.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

from p2net_tf.doctor.machine import TensorFlow
from p2net_tf.utils.machine import Gpu

_TIMEOUT = 180


def probe_tensorflow() -> tuple[TensorFlow | None, str | None]:
    """TensorFlow's facts and None, or None and why it does not start."""
    command = [sys.executable, "-m", "p2net_tf.doctor.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None, f"it was not ready within {_TIMEOUT} s"
    if done.returncode:
        return None, _last_words(done.returncode, done.stderr)
    return _read_facts(done.stdout.splitlines()[-1]), None


def _last_words(code: int, stderr: str) -> str:
    if code < 0:
        return f"it ended its process ({signal.Signals(-code).name})"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"its process ended with {code}"


def _read_facts(document: str) -> TensorFlow:
    facts = json.loads(document)
    return TensorFlow(**{**facts, "gpus": tuple(Gpu(**gpu) for gpu in facts["gpus"])})


def main() -> None:
    start = time.perf_counter()
    import keras
    import tensorflow as tf

    seconds = time.perf_counter() - start
    build = tf.sysconfig.get_build_info()
    facts = {
        "version": tf.__version__,
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
        "cuda": build.get("cuda_version") if build.get("is_cuda_build") else None,
        "cudnn": build.get("cudnn_version") if build.get("is_cuda_build") else None,
        "gpus": [_describe_gpu(tf, device) for device in tf.config.list_physical_devices("GPU")],
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "eager_functions": tf.config.functions_run_eagerly(),
        "seconds": seconds,
    }
    print(json.dumps(facts))


def _describe_gpu(tf, device) -> dict:
    details = tf.config.experimental.get_device_details(device)
    return {"name": details.get("device_name", device.name)}


if __name__ == "__main__":
    main()
