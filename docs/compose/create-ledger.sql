-- Runs once, when PostgreSQL's data folder is new: the ledger is a database of its own beside Airflow's.
CREATE DATABASE ledger;
