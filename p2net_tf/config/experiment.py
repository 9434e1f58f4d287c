"""One experiment (`configs/<model>_<dataset>_<height>x<width>.yaml`): the sections that the packages own."""

from __future__ import annotations

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.config.model import ModelConfig, P2NetConfig
from p2net_tf.config.tuner import TunerConfig
from p2net_tf.data.settings import DataConfig
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.training.settings import LossConfig, TrainingConfig
from p2net_tf.utils.yaml_files import Section


class ExperimentConfig(Section):
    """Everything that decides the outcome of an experiment."""

    name: str
    seed: int = 0
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    policy: str | None = None
    """An augmentation policy or a schedule of one: a YAML file, the folder of a search or a run, or a
    built-in name (`p2net policy list`). It takes the place of `augment`, of which only the flip stays. A path
    starts from the working folder. `learn`: learned by `search` while the network trains."""
    model: ModelConfig = P2NetConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    search: SearchConfig = SearchConfig()
    tuner: TunerConfig = TunerConfig()
