"""Archives and purges old rows, as retention_policies says."""
