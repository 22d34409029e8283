"""What the stack runs besides the fakes: Postgres, the data API, and how both are kept."""
