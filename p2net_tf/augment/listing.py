"""What there is to augment with: the built-in policies and the table of operations."""

from __future__ import annotations

from p2net_tf.augment.operation_cards import OPERATION_CARDS
from p2net_tf.augment.policy_files import BUILTIN_POLICIES, PolicyFile

_COLUMNS = ("name", "definition", "low", "high", "neutral", "keypoints", "source")
"""Of an operation, as `OperationCard` describes them."""


def listing() -> dict:
    """`{policies: [{name, summary, sub_policies, stages}], operations: [{name, definition, ...}]}`."""
    policies = [PolicyFile.load(name) for name in BUILTIN_POLICIES]
    return {
        "policies": [
            {
                "name": policy.name,
                "summary": policy.provenance["summary"],
                "sub_policies": len(policy.sub_policies),
                "stages": policy.stages,
            }
            for policy in policies
        ],
        "operations": [{key: getattr(row, key) for key in _COLUMNS} for row in OPERATION_CARDS],
    }
