"""Network architectures of the zoo, untrained."""
