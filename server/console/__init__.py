"""The console: what the workers do, as pages for a browser on this machine."""
