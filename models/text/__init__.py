"""Sentences: their words, rated film reviews, a classifier and an autoencoder of them; loaded only when asked for."""
