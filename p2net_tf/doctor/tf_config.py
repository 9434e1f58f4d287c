"""`TF_CONFIG`, by which every worker of a cluster knows the others and itself."""

from __future__ import annotations

import json


def check_tf_config(text: str) -> str | None:
    """What is wrong with it; None where nothing is.

    Right is `{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}`.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        return f"is no JSON: {error}"
    cluster, task = (config.get(part) for part in ("cluster", "task")) if isinstance(config, dict) else (0, 0)
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        return "has no 'cluster' and 'task'"
    for kind, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
            return f"cluster.{kind} is no list of HOST:PORT"
    kind, index = task.get("type"), task.get("index")
    if kind not in cluster:
        return f"task.type {kind!r} is not in the cluster ({', '.join(cluster)})"
    if not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        return f"task.index {index!r} is none of the {len(cluster[kind])} of cluster.{kind}"
    return None


def _is_address(address) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal()
