from tidings.airflow.plugin import TidingsPlugin  # noqa: F401
