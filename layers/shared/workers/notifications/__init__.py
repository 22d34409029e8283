"""Delivers queued notifications to Slack."""
