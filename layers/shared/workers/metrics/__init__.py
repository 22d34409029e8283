"""The metrics sync: a plan every ten minutes, one sync per connection."""
