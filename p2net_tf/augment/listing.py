"""What there is to augment with: built-in policies and the table of operations; a policy in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

from p2net_tf.augment.operation_cards import OPERATION_CARDS
from p2net_tf.augment.policies import Policy
from p2net_tf.augment.policy_files import BUILTIN_POLICIES
from p2net_tf.augment.schedule import PolicySchedule, load_policy

MOMENTS = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""Of a training, and their progress: where a schedule is looked at."""

OPERATION_COLORS = dict(
    zip(
        OPERATION_CARDS,
        (
            "#888888", "#1f77b4", "#17becf", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#ff7f0e", "#bcbd22",
            "#2ca02c", "#000080",
        ),
        strict=True,
    )
)  # fmt: skip
"""The same in every picture."""

_COLUMNS = ("name", "definition", "low", "high", "neutral", "keypoints", "source")
"""Of an operation, as `OperationCard` describes them."""


def listing(sources: Sequence[str] = ()) -> dict:
    """`{policies: [see describe], operations: [{name, definition, ...}]}`.

    Args:
        sources: files or folders of further policies, after the built-in ones.

    Raises:
        PolicyError: one of them is none.
    """
    return {
        "policies": [describe(load_policy(source)) for source in (*BUILTIN_POLICIES, *sources)],
        "operations": [{key: getattr(row, key) for key in _COLUMNS} for row in OPERATION_CARDS.values()],
    }


def describe(policy: Policy | PolicySchedule) -> dict:
    """`{name, form, summary}`, and of a policy `{sub_policies, stages}`, of a schedule `{draws, knots}`."""
    summary = str(policy.provenance.get("summary", ""))
    if isinstance(policy, PolicySchedule):
        size = {"draws": policy.draws, "knots": len(policy.knots)}
        return {"name": policy.name, "form": "schedule", "summary": summary} | size
    size = {"sub_policies": len(policy.sub_policies), "stages": policy.stages}
    return {"name": policy.name, "form": "policy", "summary": summary} | size


def describe_moments(schedule: PolicySchedule) -> list[dict]:
    """Of each of `MOMENTS` `{moment, progress, strength, shares}`.

    The shares are `{operation, share, magnitude, spread, mean_level}` each, of all its operations.
    """
    return [
        {
            "moment": moment,
            "progress": progress,
            "strength": schedule.strength(progress),
            "shares": [
                {**share.model_dump(), "mean_level": share.mean_level}
                for share in schedule.at(progress).shares
            ],
        }
        for moment, progress in MOMENTS.items()
    ]
