"""Background workers of Agency Dashboard OS."""
