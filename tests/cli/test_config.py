"""`p2net config`, and the configurations that it finds."""

import json
import re

import pytest
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.config.catalog import list_configs
from p2net_tf.config.loading import load_config
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.resources import configs_folder


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["config", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_list_describes_every_configuration_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = sorted(file.stem for file in configs_folder().glob("*.yaml"))
    lines = call("list").splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(re.match(r"\S+ {2,}\w.{15,}[.:]$", line) for line in lines)


def test_list_says_what_to_expect_and_how_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = {entry["name"]: entry for entry in json.loads(call("list", "--json"))}
    assert entries["hrnet_w32_lsp_256x256"] == {
        "name": "hrnet_w32_lsp_256x256",
        "file": str(configs_folder() / "hrnet_w32_lsp_256x256.yaml"),
        "summary": "HRNet-W32 (Sun et al., CVPR 2019): 28.5 M parameters.",
        "expect": "not run here at this size: LSP has no published result of it.",
        "command": "p2net train hrnet_w32_lsp_256x256",
    }
    assert entries["planted_search"]["expect"].endswith("or nothing with search.plant=null.")


@pytest.mark.parametrize("entry", list_configs(), ids=lambda entry: entry.name)
def test_every_head_names_an_expectation_and_a_command_by_name(entry):
    assert entry.summary and len(entry.expect) > 20
    assert f" {entry.name}" in entry.command or entry.command == "make demo, or p2net demo"


def test_show_prints_the_file_with_its_head():
    assert call("show", "planted_search") == (configs_folder() / "planted_search.yaml").read_text()


def test_show_resolves_defaults_variables_and_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("P2NET_DATA", "/somewhere")
    shown = call("show", "p2net_small_lsp_128x128", "training.epochs=7", "--resolved")
    assert "root: /somewhere/lsp" in shown
    (tmp_path / "again.yaml").write_text(shown)
    assert load_config(tmp_path / "again.yaml") == load_config(
        "p2net_small_lsp_128x128", ["training.epochs=7"]
    )
    assert "--resolved" in call("show", "planted_search", "seed=1", code=2)


def test_copy_is_found_before_the_original_and_never_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("copy", "planted_search").strip() == "planted_search.yaml"
    copy = tmp_path / "planted_search.yaml"
    assert copy.read_bytes() == (configs_folder() / "planted_search.yaml").read_bytes()
    copy.write_text(copy.read_text() + "seed: 5\n")
    assert load_config("planted_search").seed == 5
    with pytest.raises(UserError, match="planted_search.yaml: is there already"):
        call("copy", configs_folder() / "planted_search.yaml")
    assert load_config("planted_search").seed == 5
    call("copy", configs_folder() / "planted_search.yaml", "--force")
    assert load_config("planted_search").seed == 0


def test_the_working_folders_configurations_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("copy", "planted_search", "--to", "configs")
    files = {entry["name"]: entry["file"] for entry in json.loads(call("list", "--json"))}
    assert files["planted_search"] == "configs/planted_search.yaml"
    assert files["p2net_small_lsp_128x128"] == str(configs_folder() / "p2net_small_lsp_128x128.yaml")


@pytest.mark.parametrize("verb", ["show", "copy"])
def test_a_wrong_name_is_answered_with_the_nearest(verb):
    with pytest.raises(
        UserError, match="no configuration file 'planted_serch'; did you mean 'planted_search'"
    ):
        call(verb, "planted_serch")
