"""Measures of counterfactuals: pure functions on tensors, one idea per module, and the checks made of them."""
