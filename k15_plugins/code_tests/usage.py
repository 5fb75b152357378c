"""How CYaRon 0.7.0 is used, for the model that writes generators.

What CYaRon's own pages show is older in places: 0.7.0 has no `Tree`, no `VectorRandomMode` at the top level, and its
`random_paragraph` fails if it is given a `word_count_range`. A test runs every line of this text.
"""

USAGE = """
from cyaron import *  # also brings randint, randrange, choice, uniform and random from Python's random module

# Numbers and lists
n = randint(1, 100)  # both ends included
a = [randint(-1000, 1000) for _ in range(n)]
print(n)
print(*a)

# Vectors: num vectors, a range for each dimension; 10 means from 0 to 10, (1, 5) from 1 to 5
Vector.random(5, [(1, 100), 10])  # 5 different vectors of 2 whole numbers, as a list of lists
Vector.random_unique_vector(5, [(1, 100)])  # the same
Vector.random_repeatable_vector(5, [(1, 100), (1, 100)])  # they may repeat
Vector.random_float_vector(5, [(0.0, 1.0)])

# Strings
String.random(8)  # 8 small letters
String.random((5, 10), charset="ab01")  # from 5 to 10 characters, of these
String.random_sentence(5, word_length_range=(1, 6))
String.random_paragraph((2, 4))  # from 2 to 4 sentences
String.random_regular("[a-c]{3}[0-9]{2}")  # one that the regular expression matches
ALPHABET_SMALL, ALPHABET_CAPITAL, ALPHABET, NUMBERS  # "abc...", "ABC...", both, "0123456789"

# Graphs: vertices are 1 to n; weight_limit=(1, 9) or weight_limit=9 gives each edge a weight, which is 1 otherwise
g = Graph.graph(10, 15)  # 10 vertices, 15 edges
g = Graph.graph(10, 15, directed=True, self_loop=False, repeated_edges=False, weight_limit=(1, 9))
g = Graph.tree(10)
g = Graph.tree(10, 0.4, 0.3, weight_limit=9)  # 40 % of it a chain, 30 % a flower
g = Graph.binary_tree(10, 0.4, 0.5)  # chances of a left and of a right child
g = Graph.chain(10)
g = Graph.flower(10)  # a star
g = Graph.forest(10, 3)  # 3 trees
g = Graph.connected(10, 15)
g = Graph.DAG(10, 15, self_loop=False, repeated_edges=False)  # directed, without a cycle
g = Graph.UDAG(10, 15, self_loop=False, repeated_edges=False)  # undirected and connected
g = Graph.hack_spfa(10, weight_limit=(1, 9))
g = Graph.from_degree_sequence([2, 2, 2, 2])
print(10, g.edge_count())
print(g)  # a line "u v w" for each edge
print(g.to_str(output=Edge.unweighted_edge))  # a line "u v" for each edge
print(g.to_str(shuffle=True))  # vertices renamed, edges in another order
for edge in g.iterate_edges():
    edge.start, edge.end, edge.weight
g = Graph(3, directed=True)
g.add_edge(1, 2, weight=5)

# Geometry
p = Polygon.convex_hull(5, fx=lambda x: int(x * 1000), fy=lambda x: int(x * 1000))
p = Polygon.simple_polygon([[0, 0], [4, 0], [4, 3], [1, 1]])
p.points, p.area(), p.perimeter()

# Sequences by a formula
s = Sequence(lambda i, f: f(i - 1) + 2 * f(i - 2), [1, 1])
s.get(1, 5)  # elements 1 to 5

# Numbers with properties
is_prime(97), prime_sieve(100), factor(360), factorial(5), fibonacci(10), phi(12), binomial(5, 2)

# Files, if there are several inputs: case1.in, case2.in; every file *.in is taken
for i in range(1, 3):
    io = IO(file_prefix="case", data_id=i, disable_output=True)
    io.input_writeln(n)
    io.input_writeln(a)  # a list is written with spaces between
    io.input_writeln(g)
    io.input_write(1, 2, 3, separator=",")
    io.close()
""".strip()
"""One program that shows every call."""
