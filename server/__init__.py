"""The workers as one long-running process: `python -m server`.

It runs what the functions run, on the same schedules, without AWS. The leases in Postgres make any
number of these processes safe side by side, and beside the functions.
"""
