"""The operator's commands: `python -m workers.operate --help`."""
