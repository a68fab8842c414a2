"""What can be known of a run without its weights, in under a minute: ``--params dry_run=true``."""
