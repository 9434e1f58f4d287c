"""What people bring of boxes: every row of the table is checked and scored."""

import pytest

from p2net_tf.data.boxes.datasets import open_scenes
from p2net_tf.data.samples import DataError
from tests.data.boxes.quirks import BOX_QUIRKS, check, score

PICTURES_OWN = ("image_extension",)


@pytest.mark.parametrize(
    "quirk",
    [
        pytest.param(
            quirk, id=f"{quirk.topic}: {quirk.name}", marks=() if number % 10 == 0 else pytest.mark.slow
        )
        for number, quirk in enumerate(BOX_QUIRKS)
    ],
)
def test_checked_and_scored(quirk, tmp_path):
    quirk.make(tmp_path)
    source = quirk.source(tmp_path)
    if quirk.refused is not None:
        for use in (check, score, lambda source: open_scenes([source])):
            with pytest.raises(DataError, match=quirk.refused):
                use(source)
        return
    _, problems = check(source)
    assert {problem.kind for problem in problems if problem.severity == "error"} == set(quirk.errors)
    said = [p.detail for p in problems if p.severity != "error" and p.kind not in PICTURES_OWN]
    assert said == [] if quirk.says is None else any(quirk.says in detail for detail in said), said
    objects, average_precision = quirk.expected()
    result = score(source)
    assert result.objects == objects
    assert result["AP"] == pytest.approx(average_precision, abs=1e-4 if source.format == "yolo" else 1e-9)
