"""The workers as one long-running process: `python -m server`.

It runs what the functions run, on the same schedules, without AWS. Leases in Postgres make any
number of these processes safe, also together with the functions.
"""
