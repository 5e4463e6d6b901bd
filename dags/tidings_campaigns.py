"""The Airflow DAGs of this project: one per file in triggers/, one that sends, one that measures, one that forgets."""

from tidings.airflow.dags import campaign_dags, dispatch_dag, measure_dag, reconcile_dag, retention_dag

globals().update(campaign_dags(__file__))
dispatch = dispatch_dag(__file__)
measure = measure_dag(__file__)
retention = retention_dag(__file__)
reconcile = reconcile_dag(__file__)
