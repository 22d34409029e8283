"""What an operator does by hand: `python -m workers.operate --help`."""
