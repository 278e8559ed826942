"""AE+VAE: what an embedding keeps of an image, from a variational autoencoder of the embedding and a decoder of images."""
