"""What the doctor checks: settings, database, access, Slack, ad platforms, policies, runs."""
