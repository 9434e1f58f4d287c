"""Names of data sources."""

from p2net_tf.data.settings import DatasetConfig, name_sources


def test_sources_are_named_by_folder_and_split():
    places = [
        ("lsp", "test"),
        ("lsp", "test"),
        ("sets/my set", "val2017"),
        ("lsp", "test"),
        (".", "train"),
    ]
    sources = [DatasetConfig(format="coco", root=root, split=split) for root, split in places]
    named = name_sources(sources)
    assert list(named) == ["lsp_test", "lsp_test_2", "my_set_val2017", "lsp_test_3", "coco_train"]
    assert list(named.values()) == sources
