"""A file per subject: its routes, and what their templates are given."""
