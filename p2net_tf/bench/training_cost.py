"""What one training costs, in closed form: persons, multiply-adds, bytes that are read, sent and held."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class PersonSet:
    """A training set, as far as its costs go.

    Attributes:
        persons: that are trained on in an epoch.
        pictures: on which there is one of them.
        picture_bytes: of an encoded picture, mean.
    """

    persons: int
    pictures: int
    picture_bytes: int


COCO = PersonSet(persons=149_813, pictures=56_599, picture_bytes=163_500)
"""train2017: persons with labelled keypoints, as SimpleBaseline's and HRNet's code count them, and the mean
of its 118,287 pictures, 19.3 GB."""
PAPER_EPOCHS = 210


@dataclass(frozen=True)
class TrainingCost:
    """Of one training.

    Attributes:
        steps: optimizer steps.
        samples: persons that are trained on, each as often as it is.
        multiply_adds: of forward and backward pass, which is taken to be twice the forward pass.
        bytes_read: encoded pictures, where every person's is read anew.
        bytes_read_cached: where every host reads each picture once and keeps it.
        state_bytes: on every replica: weights, gradients and Adam's two moments.
        bytes_sent: by every replica in a step, gradients in a ring.
    """

    steps: int
    samples: int
    multiply_adds: int
    bytes_read: int
    bytes_read_cached: int
    state_bytes: int
    bytes_sent: int

    def hours(self, samples_per_second: float) -> float:
        """Of the whole training, at so many persons a second on all replicas together."""
        return self.samples / samples_per_second / 3600


def training_cost(
    parameters: int,
    multiply_adds: int,
    batch: int,
    replicas: int = 1,
    people: PersonSet = COCO,
    epochs: int = PAPER_EPOCHS,
) -> TrainingCost:
    """The cost of training a network.

    >>> cost = training_cost(parameters=47_230_000, multiply_adds=21_740_000_000, batch=32, replicas=4)
    >>> cost.steps, cost.samples, cost.bytes_sent
    (983010, 31456320, 283380000)

    Args:
        parameters: trainable weights.
        multiply_adds: of the forward pass of one person.
        batch: the global one; what is left of an epoch after the last full one is not trained on.
        replicas: that share it out.
    """
    steps = people.persons // batch * epochs
    samples = steps * batch
    return TrainingCost(
        steps=steps,
        samples=samples,
        multiply_adds=3 * multiply_adds * samples,
        bytes_read=samples * people.picture_bytes,
        bytes_read_cached=people.pictures * people.picture_bytes,
        state_bytes=4 * FLOAT * parameters,
        bytes_sent=2 * (replicas - 1) * FLOAT * parameters // replicas,
    )
