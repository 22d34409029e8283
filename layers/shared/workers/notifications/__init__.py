"""Queued notifications, delivered to Slack."""
