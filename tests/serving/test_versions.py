"""Which version is served, as folders come, break and go; with models that are plain names."""

import time

import pytest

from p2net_tf.serving.status import Code, RequestError, ServingError
from p2net_tf.serving.versions import Versions, VersionStatus, find_versions


def put(folder, name, contents="sound"):
    (folder / str(name)).mkdir(parents=True, exist_ok=True)
    (folder / str(name) / "saved_model.pb").write_text(contents)


def load(folder, version):
    contents = (folder / "saved_model.pb").read_text()
    if contents != "sound":
        raise ServingError(f"{folder}: {contents}")
    return f"model {version}"


@pytest.fixture
def folder(tmp_path):
    put(tmp_path, 1)
    return tmp_path


def served(folder, **options) -> Versions:
    versions = Versions(folder, load=load, **options)
    versions.poll(settle=False)
    return versions


def test_only_whole_numbers_with_a_model_in_them_are_versions(folder):
    for name in ("02", "3.tmp", ".4", "five", "-6", "0x7", "\N{SUPERSCRIPT TWO}", "9" * 30):
        put(folder, name)
    (folder / "8").mkdir()
    (folder / "9").write_text("a file")
    put(folder, 10)
    assert sorted(find_versions(folder)) == [1, 10]


def test_the_highest_is_served(folder):
    put(folder, 2)
    put(folder, 10)
    versions = served(folder)
    assert versions.get() == "model 10"
    assert versions.status() == [VersionStatus(10, "AVAILABLE")]


def test_a_new_version_takes_over_and_the_old_one_ends(folder):
    versions = served(folder)
    put(folder, 2)
    versions.poll()
    assert versions.get() == "model 1"  # who knows whether it is complete
    versions.poll()
    assert versions.get() == "model 2"
    assert versions.status() == [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END")]


def test_what_still_grows_is_left_alone(folder):
    versions = served(folder)
    for part in ("so", "soun"):
        put(folder, 2, part)
        versions.poll()
        assert versions.get() == "model 1"
    put(folder, 2, "sound")
    versions.poll()
    versions.poll()
    assert versions.get() == "model 2"


def test_a_broken_version_is_reported_and_the_old_one_stays(folder):
    versions = served(folder)
    put(folder, 2, "broken")
    versions.poll()
    versions.poll()
    assert versions.get() == "model 1"
    assert [(entry.version, entry.state) for entry in versions.status()] == [(2, "END"), (1, "AVAILABLE")]
    assert "broken" in versions.status()[0].error


def test_a_broken_version_is_tried_again_when_it_changes(folder):
    tries = []

    def counted(path, version):
        tries.append(version)
        return load(path, version)

    versions = Versions(folder, load=counted)
    put(folder, 2, "broken")
    for _ in range(3):
        versions.poll(settle=False)
    assert tries == [2, 1]
    put(folder, 2, "sound")
    versions.poll(settle=False)
    assert versions.get() == "model 2"


def test_a_broken_version_at_the_start_is_no_reason_to_serve_nothing(folder):
    put(folder, 2, "broken")
    assert served(folder).get() == "model 1"


def test_a_deleted_version_is_taken_back(folder):
    put(folder, 2)
    versions = served(folder)
    assert versions.get() == "model 2"
    (folder / "2" / "saved_model.pb").unlink()
    versions.poll()
    assert versions.get() == "model 1"


def test_the_last_version_stays_when_the_folder_goes(folder):
    versions = served(folder)
    (folder / "1" / "saved_model.pb").unlink()
    versions.poll()
    (folder / "1").rmdir()
    folder.rmdir()
    versions.poll()
    assert versions.get() == "model 1"


def test_several_versions_and_labels(folder):
    for version in (2, 3, 4):
        put(folder, version)
    versions = served(folder, keep=2, labels={"stable": 1, "next": 9})
    assert [versions.get(version) for version in (1, 3, 4)] == ["model 1", "model 3", "model 4"]
    assert versions.get() == "model 4"
    assert versions.get(label="stable") == "model 1"
    for wrong, code in (({"version": 2}, Code.NOT_FOUND), ({"label": "next"}, Code.NOT_FOUND),
                        ({"label": "canary"}, Code.INVALID_ARGUMENT)):  # fmt: skip
        with pytest.raises(RequestError) as caught:
            versions.get(**wrong)
        assert caught.value.code is code


def test_nothing_to_serve_is_an_error_with_the_reason(tmp_path):
    with pytest.raises(ServingError, match="holds no version"):
        Versions(tmp_path, load=load).start(60)
    put(tmp_path.parent, tmp_path.name)
    with pytest.raises(ServingError, match="it is a version itself"):
        Versions(tmp_path, load=load).start(60)
    put(tmp_path, 1, "all wrong")
    with pytest.raises(ServingError, match="all wrong"):
        Versions(tmp_path, load=load).start(60)


def test_polling_runs_by_itself(folder):
    versions = Versions(folder, load=load)
    versions.start(0.01)
    put(folder, 2)
    end = time.monotonic() + 30
    while versions.get() != "model 2" and time.monotonic() < end:
        time.sleep(0.01)
    versions.stop()
    assert versions.get() == "model 2"
