"""Pages: the public routes that face the internet, and the revenue pages behind Airflow's login."""
