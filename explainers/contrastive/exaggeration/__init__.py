"""Progressive Exaggeration: an encoder and a conditional generator fitted to one binary classifier."""
