"""The DAGs that a project's files become, parsed as Airflow parses them."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bag = Callable[[Path], Any]
CAMPAIGNS = {"back_in_stock", "browse_abandonment", "cart_abandonment", "price_drop", "win_back"}


def test_every_campaign_file_is_a_dag_beside_dispatch_and_measure(project: Path, bag: Bag):
    found = bag(project)

    assert found.import_errors == {}
    assert set(found.dags) == CAMPAIGNS | {"dispatch", "measure", "reconcile", "retention"}


def test_a_campaigns_dag_says_what_its_file_says(project: Path, bag: Bag):
    dag = bag(project).dags["cart_abandonment"]

    assert [dag.dag_display_name, dag.schedule, dag.max_active_runs, dag.catchup] == [
        "Cart abandonment", "*/15 * * * *", 1, False,
    ]  # fmt: skip
    assert {"campaign", "cart_abandonment", "live", "cart", "revenue"} <= dag.tags
    assert {task.owner for task in dag.tasks} == {"crm"}
    assert dag.params["dry_run"] is False
    assert dag.params["as_of"] is None
    assert "| minimum_value | EUR 20, USD 25, GBP 18, JPY 3000 |" in dag.doc_md
    assert "**last_chance**: text `cart_abandonment/last_chance`, after 1d" in dag.doc_md


def test_the_tasks_are_named_for_what_they_answer(project: Path, bag: Bag):
    dag = bag(project).dags["win_back"]

    assert [(task.task_id, task.task_display_name) for task in dag.topological_sort()] == [
        ("sources_fresh", "Are the sources fresh?"),
        ("who_gets_what_when", "Who qualifies, and what to send when"),
        ("answers_add_up", "Did everybody get an answer?"),
    ]


def test_dispatch_asks_once_a_minute_and_works_in_as_many_lanes_as_the_settings_say(project: Path, bag: Bag):
    (project / "tidings.yaml").write_text((project / "tidings.yaml").read_text() + "\ndispatch: {lanes: 3}\n")

    dag = bag(project).dags["dispatch"]

    assert dag.schedule == "* * * * *"
    assert dag.get_task("due").ignore_downstream_trigger_rules
    assert dag.get_task("lane").op_kwargs_expand_input.value == {"number": [1, 2, 3]}


def test_a_broken_file_breaks_its_own_dag_visibly_and_no_other(project: Path, bag: Bag):
    path = project / "triggers" / "win_back.yaml"
    path.write_text(path.read_text().replace("lapse: 90d", "lapse: 90").replace("priority:", "prio:"))

    found = bag(project)

    assert set(found.dags) == CAMPAIGNS | {"dispatch", "measure", "reconcile", "retention"}
    (place, error), *others = found.import_errors.items()
    assert (place, others) == ("tidings_mistakes.py", [])
    assert (
        'triggers/win_back.yaml: detect.lapse (line 13): must be a duration such as "90d" or "1h"; found "90"' in error
    )
    assert 'triggers/win_back.yaml: prio (line 38): is not a known key; did you mean "priority"?' in error
    broken = found.dags["win_back"]
    assert broken.schedule is None
    assert "broken" in broken.tags
    assert [task.task_id for task in broken.tasks] == ["mend_the_file"]
    assert "has 2 mistakes" in broken.doc_md
    assert found.dags["cart_abandonment"].schedule == "*/15 * * * *"


@pytest.mark.parametrize(
    "text",
    ["", "]", "id: [", "id: win_back\nid: win_back\n", "\x00", "id: dispatch\nsteps: 3", "id: '../x'", "- 1"],
    ids=["empty", "bracket", "open", "twice", "zero byte", "reserved", "path", "list"],
)
def test_no_file_however_broken_takes_another_dag_with_it(project: Path, bag: Bag, text: str):
    (project / "triggers" / "win_back.yaml").write_text(text)

    found = bag(project)

    assert CAMPAIGNS | {"dispatch", "measure", "reconcile", "retention"} <= set(found.dags) | {"win_back"}
    assert any("broken" in dag.tags for dag in found.dags.values())
    assert found.dags["dispatch"].schedule == "* * * * *"
    assert set(found.import_errors) == {"tidings_mistakes.py"}


def test_a_broken_shop_file_is_an_import_error_and_the_dags_stay(project: Path, bag: Bag):
    (project / "tidings.yaml").write_text("shop: 3")

    found = bag(project)

    assert {"dispatch", "measure", "reconcile", "retention"} <= set(found.dags)
    assert "tidings.yaml" in found.import_errors["tidings_mistakes.py"]


def test_a_renamed_file_keeps_its_dag(project: Path, bag: Bag):
    (project / "triggers" / "win_back.yaml").rename(project / "triggers" / "hello_again.yaml")

    assert set(bag(project).dags) == CAMPAIGNS | {"dispatch", "measure", "reconcile", "retention"}


def test_a_campaign_called_dispatch_does_not_take_the_place_of_the_dispatcher(project: Path, bag: Bag):
    path = project / "triggers" / "win_back.yaml"
    path.write_text(path.read_text().replace("id: win_back ", "id: dispatch "))

    found = bag(project)

    assert found.dags["dispatch"].schedule == "* * * * *"
    assert found.dags["campaign_dispatch"].schedule == "0 7 * * *"


def test_a_task_about_to_run_builds_only_its_own_dag(project: Path, monkeypatch: pytest.MonkeyPatch):
    from tidings.airflow.dags import campaign_dags

    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "price_drop")

    assert set(campaign_dags(str(project / "dags" / "x.py"))) == {"price_drop"}


_watched: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("socket.connect", "socket.getaddrinfo", "sqlite3.connect"):
        _watched.append(event)


def test_parsing_connects_to_nothing(project: Path, bag: Bag):
    global _watching
    sys.addaudithook(_watch)
    bag(project)  # Airflow's own settings may be read at the first time

    _watching = True
    try:
        bag(project)
    finally:
        _watching = False

    assert _watched == []
    assert not (project / ".tidings").exists()


def test_a_hundred_campaigns_parse_within_a_second(project: Path, bag: Bag):
    originals = sorted((project / "triggers").glob("*.yaml"))
    for number in range(95):
        original = originals[number % 5]
        text = original.read_text().replace(f"id: {original.stem}", f"id: {original.stem}_{number}")
        (project / "triggers" / f"{original.stem}_{number}.yaml").write_text(text)
    (project / "dags" / "tidings_mistakes.py").unlink()

    def parsed() -> float:
        # What the processor spends, whatever else the machine does.
        start = time.process_time()
        assert len(bag(project).dags) == 104
        return time.process_time() - start

    assert min(parsed() for _ in range(3)) < 1.0


def test_dags_in_a_folder_without_a_project_are_told_apart(tmp_path: Path, project: Path, bag: Bag):
    empty = tmp_path / "empty"
    shutil.copytree(project / "dags", empty / "dags")

    found = bag(empty)

    assert set(found.dags) == {"dispatch", "measure", "reconcile", "retention"}
    assert "tidings.yaml: must exist" in found.import_errors["tidings_mistakes.py"]
