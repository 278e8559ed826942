"""Checks that single papers made: a planted square, and the networks that an explainer was fitted with."""
