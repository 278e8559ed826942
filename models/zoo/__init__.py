"""The zoo: recipes, trained weights with their digests, and the subjects made of them."""
