"""The stack's services in addition to the fakes: Postgres and the data API, and how they run."""
