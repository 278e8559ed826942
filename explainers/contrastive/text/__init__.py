"""Explanations of sentences: what each word does, and the nearest sentence between two classes."""
