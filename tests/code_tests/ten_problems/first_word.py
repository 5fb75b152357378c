"""Nine right submissions, and one whose answer hangs on hashes: it loses its vote, and the problem is kept."""

FATE = None

PROMPT = """You are given a line of at most 30 words of small letters.
Print the word that occurs most often; of equally frequent ones the smallest in the alphabet."""

GENERATOR = """
from cyaron import *
words = [String.random(randint(1, 2), charset="ab") for _ in range(randint(20, 30))]
print(*words)
"""

MAX_KEY = """
words = input().split()
print(max(sorted(set(words)), key=words.count))
"""
COUNTER = """
from collections import Counter
count = Counter(input().split())
print(min(count, key=lambda word: (-count[word], word)))
"""
SORTED = """
words = sorted(input().split())
best, most = None, 0
for word in dict.fromkeys(words):
    if words.count(word) > most:
        best, most = word, words.count(word)
print(best)
"""
GROUPS = """
from itertools import groupby
groups = [(-len(list(group)), word) for word, group in groupby(sorted(input().split()))]
print(min(groups)[1])
"""
TABLE = """
table = {}
for word in input().split():
    table[word] = table.get(word, 0) + 1
most = max(table.values())
print(sorted(word for word, number in table.items() if number == most)[0])
"""
# An object's hash is its address, which is another one in each process.
BY_HASH = """
address = hash(object())
print(*sorted(input().split(), key=lambda word: hash((word, address))))
"""

SUBMISSIONS = [
    MAX_KEY, COUNTER, SORTED, GROUPS, BY_HASH, TABLE,
    *(f"# the same in another file\n{source}" for source in (MAX_KEY, COUNTER, GROUPS, TABLE)),
]  # fmt: skip
