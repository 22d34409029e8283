"""The console: what the workers did, what waits and why, as pages: `python -m server.console`.

Pages are rendered here and work without scripts; htmx only renews their live parts. See
docs/console.md.
"""
