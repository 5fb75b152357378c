"""Tests for programming problems that have none (paper 2.3.5): cases from a generator, outputs by a vote.

problem + 10 submissions -- no special judge? --> generator (model or file) -- in a box --> 50 cases
    -- every submission on every case --> votes: >= 7 of 10 agree? --> >= 9 of 10 pass? --> problem with tests
"""
