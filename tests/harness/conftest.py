"""What pytest leaves alone here."""

# It holds explainers for worker processes; imported by the search for examples, they would exist in this process only.
collect_ignore = ["toy.py"]
