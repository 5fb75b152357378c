"""A graph of CYaRon, and ten right submissions: kept."""

FATE = None

PROMPT = """You are given n and m (2 <= n <= 12, n - 1 <= m <= 20), then m lines "u v w": a road between the towns u
and v (1 <= u, v <= n) of length w (1 <= w <= 9). All towns are connected.
Print the length of the shortest way from 1 to n."""

GENERATOR = """
from cyaron import *
n = randint(2, 12)
m = randint(n - 1, 20)
io = IO("test.in", disable_output=True)
io.input_writeln(n, m)
io.input_writeln(Graph.UDAG(n, m, weight_limit=(1, 9)))
print("written")
"""

READ = """
import sys
n, m, *rest = map(int, sys.stdin.read().split())
edges = [tuple(rest[3 * i:3 * i + 3]) for i in range(m)]
"""
DIJKSTRA = (
    READ
    + """
import heapq
near = [[] for _ in range(n + 1)]
for u, v, w in edges:
    near[u].append((v, w))
    near[v].append((u, w))
dist = [10**9] * (n + 1)
dist[1] = 0
heap = [(0, 1)]
while heap:
    d, u = heapq.heappop(heap)
    for v, w in near[u]:
        if d + w < dist[v]:
            dist[v] = d + w
            heapq.heappush(heap, (d + w, v))
print(dist[n])
"""
)
BELLMAN_FORD = (
    READ
    + """
dist = [0 if v == 1 else 10**9 for v in range(n + 1)]
for _ in range(n):
    for u, v, w in edges:
        dist[v] = min(dist[v], dist[u] + w)
        dist[u] = min(dist[u], dist[v] + w)
print(dist[n])
"""
)
UNTIL_STILL = (
    READ
    + """
dist = {1: 0}
changed = True
while changed:
    changed = False
    for u, v, w in edges + [(v, u, w) for u, v, w in edges]:
        if u in dist and dist[u] + w < dist.get(v, 10**9):
            dist[v] = dist[u] + w
            changed = True
print(dist[n])
"""
)
FLOYD = (
    READ
    + """
d = [[0 if i == j else 10**9 for j in range(n)] for i in range(n)]
for u, v, w in edges:
    d[u-1][v-1] = min(d[u-1][v-1], w)
    d[v-1][u-1] = min(d[v-1][u-1], w)
for k in range(n):
    for i in range(n):
        for j in range(n):
            d[i][j] = min(d[i][j], d[i][k] + d[k][j])
print(d[0][n-1])
"""
)
BY_LENGTH = (
    READ
    + """
at = {0: {1}}
seen = set()
for length in range(1000):
    for u in at.get(length, set()) - seen:
        seen.add(u)
        for a, b, w in edges:
            if u in (a, b):
                at.setdefault(length + w, set()).add(a + b - u)
    if n in seen:
        print(length)
        break
"""
)
QUEUE = (
    READ
    + """
from collections import deque
near = {v: [] for v in range(1, n + 1)}
for u, v, w in edges:
    near[u].append((v, w)); near[v].append((u, w))
dist = {1: 0}
queue = deque([1])
while queue:
    u = queue.popleft()
    for v, w in near[u]:
        if dist[u] + w < dist.get(v, 10**9):
            dist[v] = dist[u] + w
            queue.append(v)
print(dist[n])
"""
)

SUBMISSIONS = [
    DIJKSTRA, BELLMAN_FORD, UNTIL_STILL, FLOYD, BY_LENGTH, QUEUE,
    *(f"# again, by another hand\n{source}" for source in (DIJKSTRA, BELLMAN_FORD, FLOYD, QUEUE)),
]  # fmt: skip
