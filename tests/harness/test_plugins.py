import pytest

import explainers
from bench import plugins, worker
from bench.config import resolve
from bench.pool import Pool
from bench.runner import context, open_folder, prepare
from models.naming import UsageError
from tests.harness.support import SMALL, TOY


def test_a_file_registers_its_explainers_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import explainers\n@explainers.register('from-a-file', signed=False)\n"
        "def f(subject, images, targets, *, seed):\n    'Bright.'\n    return images\n"
    )
    first, second = plugins.load([str(file)])[0], plugins.load([str(file)])[0]
    assert first == second and not first.error
    assert str(file) in explainers.card("from-a-file").origin
    assert "from-a-file" not in plugins.of_this_process()


def test_two_files_of_one_name_are_two_plugins(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(
            f"import explainers\n@explainers.register('of-{folder}', signed=True)\n"
            "def f(subject, images, targets, *, seed):\n    return images\n"
        )
    loaded = plugins.load([str(tmp_path / folder / "mine.py") for folder in ("a", "b")])
    assert not any(plugin.error for plugin in loaded[:2])
    assert {"of-a", "of-b"} <= set(explainers.names())


@pytest.mark.parametrize("text", ["import no_such_module_anywhere", "1 / 0", "def (", "raise SystemExit(3)"])
def test_a_broken_file_is_reported_and_not_fatal(tmp_path, text):
    file = tmp_path / "broken.py"
    file.write_text(text)
    found = plugins.load([str(file)])[0]
    assert found.error and found.trace


def test_a_broken_module_is_reported_and_not_fatal():
    assert "ModuleNotFoundError" in plugins.load(["no_such_module_anywhere"])[0].error


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        plugins.load([str(tmp_path / "no.py")])


def test_explainers_of_the_running_program_are_known_as_such():
    @explainers.register("only-here", signed=True)
    def only_here(subject, images, targets, *, seed):
        return images

    assert "only-here" in plugins.of_this_process()


def test_a_worker_loads_the_plugins_once_per_shard_and_writes_them_down(tmp_path, monkeypatch):
    prepared = prepare(
        resolve({**SMALL, "explainers": "toy-gradient", "images": 1, "seeds": 1, "out": str(tmp_path / "a")})
    )
    store = open_folder(prepared)
    common = context(prepared, Pool(1), store, "mine").to_json()
    real, asked = plugins.load, []
    monkeypatch.setattr(plugins, "load", lambda given: asked.append(list(given)) or real(given))
    shards = prepared.plan.shards(prepared.plan.tasks)
    for shard in shards:
        worker.run_shard(common, shard.to_json())
    assert asked == [[TOY]] * len(shards)
    (record,) = [record for name, record in store.provenance().items() if not name.startswith("run-")]
    assert [plugin["origin"] for plugin in record["plugins"]] == [TOY]
