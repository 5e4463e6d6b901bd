"""The DAGs, made from the project's files: one per campaign, one that sends, one that measures; nothing is connected.

A mistake in one campaign's file stops that DAG alone. Airflow stops every DAG of a *Python* file that has an import
error, so the broken campaign becomes a DAG that says what is wrong, and the import error with all mistakes comes
from a file of its own (``raise_mistakes``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, get_parsing_context, task

from tidings.airflow import words
from tidings.airflow.folder import project_folder
from tidings.definitions import Campaign, Mistake, load, load_campaign, load_settings, source
from tidings.definitions.project import TRIGGERS
from tidings.errors import DefinitionError

DISPATCH, MEASURE, RETENTION, RECONCILE = "dispatch", "measure", "retention", "reconcile"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_ONE_RUN: dict[str, Any] = {"start_date": _BEGINNING, "catchup": False, "max_active_runs": 1}
_RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=20)}


def campaign_dags(dag_file: str) -> dict[str, DAG]:
    """Return the DAGs of all campaigns by id; only the needed one when a task of it is about to run."""
    folder = project_folder(dag_file)
    asked = get_parsing_context().dag_id
    alone = _alone(folder, asked) if asked else None
    if alone is not None:
        return {alone.dag_id: alone}
    project = load(folder)
    dags = [campaign_dag(folder, campaign) for campaign in project.campaigns.values()]
    by_file: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in project.mistakes:
        by_file[mistake.file].append(mistake)
    taken = {DISPATCH, MEASURE, RETENTION, RECONCILE, *(dag.dag_id for dag in dags)}
    for file in project.files:
        if file in by_file:
            dags.append(broken_dag(folder, file, by_file[file], taken))
            taken.add(dags[-1].dag_id)
    return {dag.dag_id: dag for dag in dags}


def _alone(folder: Path, dag_id: str) -> DAG | None:
    """Return the DAG of the campaign whose file bears its id, the usual case, without reading the others."""
    path = folder / TRIGGERS / f"{dag_id}.yaml"
    if not path.is_file():
        return None
    shop, _ = load_settings(folder)
    try:
        campaign = load_campaign(path, shop)
    except DefinitionError:
        return None
    return campaign_dag(folder, campaign) if dag_id_of(campaign) == dag_id else None


def dag_id_of(campaign: Campaign) -> str:
    """Return the DAG's id: the campaign's, which never changes, so a renamed file keeps its history."""
    return f"campaign_{campaign.id}" if campaign.id in (DISPATCH, MEASURE, RETENTION, RECONCILE) else campaign.id


def campaign_dag(folder: Path, campaign: Campaign) -> DAG:
    """Return one campaign's DAG."""
    dag = DAG(
        dag_id_of(campaign),
        dag_display_name=campaign.title,
        description=campaign.description or None,
        doc_md=words.about(campaign),
        schedule=campaign.schedule,
        tags=["campaign", campaign.detect.type, campaign.mode, *campaign.tags],
        default_args={"owner": campaign.owner, **_RETRIES},
        params={
            "as_of": Param(
                None,
                type=["null", "string"],
                format="date-time",
                title="As of",
                description="Look as if it were this moment; empty for now.",
            ),
            "dry_run": Param(
                False, type="boolean", title="Dry run", description="Plan into a space of its own and send nothing."
            ),
        },
        **_ONE_RUN,
    )
    with dag:
        _campaign_tasks(folder, campaign.id)
    return dag


def _campaign_tasks(folder: Path, campaign_id: str) -> None:
    # The work is imported when a task runs: parsing, twice a minute, needs neither databases nor providers.
    @task(task_display_name="Are the sources fresh?", multiple_outputs=False)
    def sources_fresh() -> dict[str, int]:
        from tidings.airflow import tasks

        return tasks.sources_fresh(folder, campaign_id, _params())

    @task(task_display_name="Who qualifies, and what to send when", multiple_outputs=False)
    def who_gets_what_when() -> dict[str, Any]:
        from tidings.airflow import tasks

        return tasks.find_and_plan(folder, campaign_id, _params())

    @task(task_display_name="Did everybody get an answer?", multiple_outputs=False)
    def answers_add_up(counts: dict[str, Any]) -> dict[str, int]:
        from tidings.airflow import tasks

        return tasks.answers_add_up(counts)

    planned = who_gets_what_when()
    sources_fresh() >> planned
    answers_add_up(planned)  # type: ignore[arg-type]  # Airflow hands over the value, not the promise of it


def broken_dag(folder: Path, file: str, mistakes: Sequence[Mistake], taken: set[str]) -> DAG:
    """Return the DAG that stands for a campaign whose file has mistakes: no schedule, and its task says them."""
    dag_id = _broken_id(folder / file, file, taken)
    told = "\n".join(str(mistake) for mistake in mistakes)
    dag = DAG(
        dag_id,
        dag_display_name=f"{Path(file).stem} (broken file)",
        description=str(mistakes[0])[:500],
        doc_md=words.broken(file, mistakes),
        schedule=None,
        tags=["campaign", "broken"],
        **_ONE_RUN,
    )
    with dag:

        @task(task_display_name="Mend the file")
        def mend_the_file() -> None:
            from tidings.airflow import tasks

            tasks.refuse(told)

        mend_the_file()
    return dag


def _broken_id(path: Path, file: str, taken: set[str]) -> str:
    """Return the id the file bears, so that the DAG keeps its history; else the file's own name."""
    value = source.read(path, file).value
    named = value.get("id") if isinstance(value, dict) else None
    if isinstance(named, str) and _NAME.fullmatch(named) and named not in taken:
        return named
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
    return plain if plain not in taken else f"{plain}_file"


def _own_dag(
    dag_id: str,
    schedule: str,
    description: str,
    doc: str,
    *,
    retries: bool = True,
    params: dict[str, Any] | None = None,
) -> DAG:
    """Return an empty DAG of the project's own, beside those of its campaigns."""
    return DAG(
        dag_id,
        dag_display_name=dag_id.capitalize(),
        description=description,
        doc_md=doc,
        schedule=schedule,
        tags=["tidings"],
        default_args={"owner": "crm", **(_RETRIES if retries else {})},
        params=params,
        **_ONE_RUN,
    )


def dispatch_dag(dag_file: str) -> DAG:
    """Return the DAG that sends what is due, every minute, in as many lanes as the settings say."""
    shop, _ = load_settings(folder := project_folder(dag_file))
    lanes = shop.dispatch.lanes if shop is not None else 1
    dag = _own_dag(DISPATCH, "* * * * *", "Sends what is due and still true.", words.DISPATCH, retries=False)
    with dag:

        @task.short_circuit(task_display_name="Is anything due?")
        def due() -> bool:
            from tidings.airflow import tasks

            return tasks.anything_due(folder)

        @task(task_display_name="Send", multiple_outputs=False)
        def lane(number: int) -> dict[str, Any]:
            from tidings.airflow import tasks

            return tasks.send_what_is_due(folder, number)

        @task(task_display_name="Is anything stopped?", multiple_outputs=False)
        def brakes() -> dict[str, int]:
            from tidings.airflow import tasks

            return tasks.tell_of_brakes(folder)

        @task(task_display_name="Ask and tell", multiple_outputs=False)
        def ask_and_tell() -> dict[str, int]:
            from tidings.airflow import tasks

            return tasks.ask_and_tell(folder)

        due() >> lane.expand(number=list(range(1, lanes + 1)))
        brakes()
        ask_and_tell()
    return dag


def measure_dag(dag_file: str) -> DAG:
    """Return the DAG that measures what the campaigns earned, every hour."""
    folder = project_folder(dag_file)
    dag = _own_dag(MEASURE, "20 * * * *", "Credits orders to messages and compares with the held out.", words.MEASURE)
    with dag:

        @task(task_display_name="What did it earn?", multiple_outputs=False)
        def measure() -> dict[str, Any]:
            from tidings.airflow import tasks

            return tasks.measure_results(folder)

        measure()
    return dag


def retention_dag(dag_file: str) -> DAG:
    """Return the DAG that takes out what has served, every night."""
    folder = project_folder(dag_file)
    dag = _own_dag(RETENTION, "40 3 * * *", "Takes out of the ledger what was kept long enough.", words.RETENTION)
    with dag:

        @task(task_display_name="Take out what has served", multiple_outputs=False)
        def take_out() -> dict[str, int]:
            from tidings.airflow import tasks

            return tasks.take_out(folder)

        take_out()
    return dag


def reconcile_dag(dag_file: str) -> DAG:
    """Return the DAG that asks the providers for what webhooks lost, every night; after a restore, by a person."""
    folder = project_folder(dag_file)
    reopen = {
        "reopen": Param(
            False,
            type="boolean",
            title="Reopen",
            description="The ledger was restored from a backup: settle what it has forgotten and send again.",
        ),
    }
    dag = _own_dag(
        RECONCILE,
        "10 4 * * *",
        "Fetches opt-outs and proofs that webhooks lost; opens dispatch after a restore.",
        words.RECONCILE,
        params=reopen,
    )
    with dag:

        @task(task_display_name="What do the providers remember?", multiple_outputs=False)
        def ask_the_providers() -> dict[str, int]:
            from tidings.airflow import tasks

            return tasks.reconcile_with_providers(folder, reopen=bool(_params().get("reopen")))

        ask_the_providers()
    return dag


def raise_mistakes(dag_file: str) -> None:
    """Raise DefinitionError with every mistake of the project, a line each; called where no DAG can be harmed."""
    project = load(project_folder(dag_file))
    if project.mistakes:
        raise DefinitionError("\n".join(str(mistake) for mistake in project.mistakes))


def _params() -> dict[str, Any]:
    return dict(get_current_context()["params"])
