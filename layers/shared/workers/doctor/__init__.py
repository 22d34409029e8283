"""What the doctor looks at: settings, database, access, Slack, ad platforms, policies, runs."""
