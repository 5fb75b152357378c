"""Nine right submissions and one that takes the empty part for one: kept."""

FATE = None

PROMPT = """You are given n (1 <= n <= 60), and in the next line n integers, each from -50 to 50.
Print the largest sum of a non-empty contiguous part of them."""

GENERATOR = """
from cyaron import *
n = randint(1, 60)
low, high = choice([(-50, 50), (-50, -1), (-3, 3)])
print(n)
print(*Vector.random_repeatable_vector(1, [(low, high)] * n)[0])
"""

KADANE = """
n = int(input())
a = list(map(int, input().split()))
best = here = a[0]
for x in a[1:]:
    here = max(x, here + x)
    best = max(best, here)
print(best)
"""
PREFIXES = """
import sys
n, *a = map(int, sys.stdin.read().split())
total, lowest, best = 0, 0, -10**9
for x in a:
    total += x
    best = max(best, total - lowest)
    lowest = min(lowest, total)
print(best)
"""
QUADRATIC = """
n = int(input())
a = list(map(int, input().split()))
print(max(sum(a[i:j]) for i in range(n) for j in range(i + 1, n + 1)))
"""
RUNNING = """
n = int(input())
a = [int(x) for x in input().split()]
best = None
for i in range(n):
    s = 0
    for j in range(i, n):
        s += a[j]
        if best is None or s > best:
            best = s
print(best)
"""
HALVES = """
def solve(a):
    if len(a) == 1:
        return a[0]
    m = len(a) // 2
    left, s = -10**9, 0
    for x in reversed(a[:m]):
        s += x
        left = max(left, s)
    right, s = -10**9, 0
    for x in a[m:]:
        s += x
        right = max(right, s)
    return max(solve(a[:m]), solve(a[m:]), left + right)
input()
print(solve(list(map(int, input().split()))))
"""
ACCUMULATE = """
from itertools import accumulate
input()
print(max(accumulate(map(int, input().split()), lambda s, x: max(x, s + x))))
"""
TABLE = """
n = int(input()); a = list(map(int, input().split()))
dp = [0] * n
for i in range(n):
    dp[i] = a[i] + (dp[i-1] if i and dp[i-1] > 0 else 0)
print(max(dp), end="")
"""
BACKWARDS = """
n = int(input())
a = list(map(int, input().split()))[::-1]
s, best = 0, a[0]
for x in a:
    s = x if s < 0 else s + x
    best = max(best, s)
print("", best, "")
"""
CPP = """
#include <algorithm>
#include <iostream>
int main() {
    int n, x, here = -1000000, best = -1000000;
    std::cin >> n;
    while (n--) {
        std::cin >> x;
        here = std::max(x, here + x);
        best = std::max(best, here);
    }
    std::cout << best << std::endl;
}
"""
EMPTY_PART = """
n = int(input())
best = here = 0
for x in map(int, input().split()):
    here = max(0, here + x)
    best = max(best, here)
print(best)
"""

SUBMISSIONS = [
    KADANE, PREFIXES, QUADRATIC, RUNNING, HALVES, ACCUMULATE, EMPTY_PART, TABLE, BACKWARDS,
    {"language": "cpp", "source": CPP},
]  # fmt: skip
