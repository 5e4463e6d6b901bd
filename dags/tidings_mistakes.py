"""Shows every mistake in the project's files as an Airflow import error; it defines no DAG, so none is harmed."""

from tidings.airflow.dags import raise_mistakes

raise_mistakes(__file__)
