"""The half of a sandbox that runs inside: `python -I -S inside` serves one program over a socket.

Only the standard library, and no import of the package: the box holds nothing but this folder.
"""
