import sys

first = input()
second = sys.stdin.readline().strip()
third = next(sys.stdin).strip()
rest = sys.stdin.read().split()
print(first, second, third, *rest)
try:
    input()
except EOFError:
    print("end")
