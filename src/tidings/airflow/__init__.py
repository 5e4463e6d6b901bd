"""The only folder that imports Airflow."""
