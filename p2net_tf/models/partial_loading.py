"""`load_weights(skip_mismatch=True)` that says what it did not load."""

from __future__ import annotations

import warnings

import numpy as np
from keras import ops


class TellsWhatIsNotLoaded:
    """Mixed into a `keras.Model`."""

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """As `keras.Model.load_weights`.

        Args:
            skip_mismatch: keep the values of weights whose shapes the file does not have, such as the heads
                of another skeleton, and warn of them, layer by layer.

        Returns:
            Names of the layers that keep the values they had; with `skip_mismatch` alone there may be any.
        """
        if not skip_mismatch:
            super().load_weights(filepath, **kwargs)
            return []
        before = [ops.convert_to_numpy(weight) for weight in self.weights]
        try:
            kept = self._load_over_nan(filepath, before, kwargs)
        except BaseException:
            _assign(zip(self.weights, before, strict=True))
            raise
        if kept:
            warnings.warn(f"{filepath}: does not fit, and left as they were: {', '.join(kept)}", stacklevel=2)
        return kept

    def _load_over_nan(self, filepath, before: list[np.ndarray], options: dict) -> list[str]:
        """What is not a number afterwards was not loaded: Keras itself names objects, and one example."""
        floats = [np.issubdtype(value.dtype, np.floating) for value in before]
        _assign(
            (weight, np.full_like(value, np.nan))
            for weight, value, is_float in zip(self.weights, before, floats, strict=True)
            if is_float
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(A total of|Skipping nested container)")
            super().load_weights(filepath, skip_mismatch=True, **options)
        missed = [
            (weight, value)
            for weight, value, is_float in zip(self.weights, before, floats, strict=True)
            if is_float and value.size and np.isnan(ops.convert_to_numpy(weight)).all()
        ]
        _assign(missed)
        return list(dict.fromkeys(weight.path.rpartition("/")[0] for weight, _ in missed))


def _assign(pairs) -> None:
    for weight, value in pairs:
        weight.assign(value)
