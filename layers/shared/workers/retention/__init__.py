"""Old rows, archived and purged as retention_policies says."""
