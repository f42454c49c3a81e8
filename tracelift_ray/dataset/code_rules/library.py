"""Calls of the standard library that are said by filling in their arguments, by the number of arguments."""

from __future__ import annotations

#: Calls without arguments.
OF_NONE = {"set": "an empty set", "dict": "an empty dictionary", "list": "an empty list", "str": "an empty string",
                     "Counter": "an empty table of counts", "deque": "an empty queue"}  # fmt: skip
#: Calls with one argument (for methods: the object alone).
OF_ONE = {
    "sum": "the sum of {}", "abs": "the absolute value of {}", "set": "the distinct values of {}",
    "reversed": "{} in reverse order", "ord": "the character code of {}",
    "chr": "the character with the code {}", "bin": "{} in binary", "hex": "{} in hexadecimal",
    "sqrt": "the square root of {}", "factorial": "the factorial of {}", "ceil": "{} rounded up",
    "floor": "the whole part of {}", "log2": "the base-2 logarithm of {}", "log10": "the base-10 logarithm of {}",

    "log": "the natural logarithm of {}", "sin": "the sine of {}", "cos": "the cosine of {}",
    "tan": "the tangent of {}",
    "radians": "{} in radians", "degrees": "{} in degrees", "exp": "e to the power of {}",
    "lower": "{} in lower case", "upper": "{} in upper case", "strip": "{} without the spaces around it",
    "capitalize": "{} with a capital at its start", "title": "{} with a capital at the start of every word",
    "pop": "the last element, taken off {}",
    "swapcase": "{} with upper and lower case exchanged", "keys": "the keys of {}", "values": "the values of {}",
    "items": "the key and value pairs of {}", "copy": "a copy of {}", "deepcopy": "a deep copy of {}",
    "Counter": "a table of how often each value occurs in {}", "round": "{} rounded to a whole number",
    "heappop": "the smallest value, taken off {}", "enumerate": "{} with positions", "type": "the type of {}",
    "lstrip": "{} without the spaces before it", "rstrip": "{} without the spaces after it",

    "most_common": "the values and counts of {}, the most frequent first", "float": "{}",
    "dict": "the dictionary of {}",
    "from_iterable": "the parts of {} strung together", "isnan": "whether {} is no number",
}  # fmt: skip
#: Calls with two arguments (for methods: the object and one argument).
OF_TWO = {
    "gcd": "the greatest common divisor of {} and {}", "pow": "{} to the power of {}",
    "round": "{} rounded to {} decimals",
    "count": "the number of times that {1} occurs in {0}", "index": "the position of {1} in {0}",
    "find": "the position of {1} in {0}", "nlargest": "the {0} largest values of {1}",
    "nsmallest": "the {0} smallest values of {1}", "combinations": "all combinations of {1} values of {0}",
    "combinations_with_replacement": "all selections of {1} values of {0}, with repetition",
    "permutations": "all arrangements of {1} values of {0}",
    "split": "the parts of {0} between every occurrence of {1}",
    "bisect_left": "the leftmost place in {0} at which {1} keeps it sorted",
    "bisect_right": "the rightmost place in {0} at which {1} keeps it sorted",
    "bisect": "the rightmost place in {0} at which {1} keeps it sorted",
    "most_common": "the {1} most frequent values of {0} with their counts", "log": "the logarithm of {} to the base {}",
    "intersection": "the values that {} and {} share", "union": "the values of {} and {} together",
    "difference": "the values of {} that are not in {}", "get": "the value that {0} has for {1}",
    "int": "the number that {0} spells in base {1}", "pop": "the element at position {1}, taken out of {0}",
    "fmod": "the remainder of {} divided by {}", "hypot": "the length of the hypotenuse over {} and {}",
    "atan2": "the angle of the point with the coordinates {1} and {0}", "zip_longest": "the pairs of {} and {}",
    "chain": "{} followed by {}", "merge": "the sorted merge of {} and {}",
    "rjust": "{} padded on the left to {} characters",
}  # fmt: skip
OF_THREE = {
    "replace": "{0} with every occurrence of {1} replaced by {2}",
    "get": "the value that {0} has for {1}, or {2} where it has none",
}
MODULES = {"math", "re", "heapq", "hq", "collections", "ct", "itertools", "bisect", "cmath", "functools", "mt", "copy"}
