"""What people send to a served package, and what it has to say to it."""
