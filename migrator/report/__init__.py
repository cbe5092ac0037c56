"""Plan and run as text, JSON and HTML. Formatting only: opens no file, prints nothing."""
