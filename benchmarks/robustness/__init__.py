"""What accidents do: to runs that are killed, to what users bring, to what lies on disk."""
