# One image for Airflow and the public web service; built from the committed pins.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends dumb-init && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 50000 airflow && mkdir -p /opt/airflow/logs /opt/tidings \
    && chown -R airflow /opt/airflow /opt/tidings
WORKDIR /opt/build
COPY pyproject.toml constraints.txt README.md ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt ".[celery,production]"
USER airflow
ENV AIRFLOW_HOME=/opt/airflow PYTHONUNBUFFERED=1
WORKDIR /opt/tidings
ENTRYPOINT ["dumb-init", "--"]
