"""What people learn from explanations: result files of the study page, read, judged and shown.

Nothing here needs torch or a run folder.  `results` reads the files, `rules` says beforehand whom to leave out, `groups`
compares groups, `agreement` looks at the pictures that several people saw, `analysis` puts it together, `output` writes it.
"""
