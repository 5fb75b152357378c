"""The half of a sandbox that runs inside: `python inside/__main__.py DESCRIPTOR` serves one program over a socket.

Only the standard library and nothing of the package: a box holds nothing but this folder.
"""
