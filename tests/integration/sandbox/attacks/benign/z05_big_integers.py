import sys

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)
print(len(str(3**20000)), pow(7, 10**18, 10**9 + 7), (1 << 100_000).bit_length())
