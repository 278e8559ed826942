"""Explainers that answer with another image: what would have to change for the network to see another class.

`lagrangian` searches under constraints, `morph` is the image that is searched for, `start` where a search begins and
`answer` what comes of it; `cdeepex`, `xgem` and `baselines` are the methods.
"""
