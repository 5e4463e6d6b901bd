"""Where the project is: told by TIDINGS_PROJECT, else the folder that holds the DAGs folder."""

from __future__ import annotations

import os
from pathlib import Path


def project_folder(dag_file: str | None = None) -> Path:
    """Return the project's folder. ``dag_file`` is the file in dags/ that asks; else Airflow's setting tells."""
    told = os.environ.get("TIDINGS_PROJECT")
    if told:
        return Path(told).resolve()
    if dag_file is not None:
        return Path(dag_file).absolute().parents[1]
    from airflow.configuration import conf

    return Path(conf.get_mandatory_value("core", "dags_folder")).absolute().parent
