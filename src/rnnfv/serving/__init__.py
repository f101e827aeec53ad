"""One service for a few models: an API for programs, and a page for people (`rnnfv serve`)."""
