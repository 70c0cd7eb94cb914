"""What a user asks for, from beginning to end: profile, plan again, run, compare, open a pipeline."""
