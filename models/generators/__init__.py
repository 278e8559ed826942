"""Generators: maps from latent points to images, with or without an encoder, that generative explainers stand on.

Your own generator is a function without arguments in a file, named as `path/to/file.py:function`. It returns an object
(an `nn.Module`, an instance, a Python module) with

    decode(z)        (N, D) float32, any real numbers -> (N, C, H, W) in [0, 1], differentiable in z
    encode(images)   (N, C, H, W) in [0, 1] -> (N, D), differentiable or not; leave it out and latent points are sought
    latent           D, an integer; needed where there is no `encode`
    shape            (C, H, W), the size of the images; needed where there is `encode` and no `latent`

Both give the same result for an image whatever stands beside it in the batch, and twice the same result (no dropout, no
batch statistics, no noise). D is at least 1; codes of natural images should have a mean near 0 and a spread near 1.
"""

from .base import Generator, conforming
from .loading import load

__all__ = ["Generator", "conforming", "load"]
