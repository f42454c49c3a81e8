import os

with open(0) as stream:
    numbers = list(map(int, stream.read().split()))
os.write(1, f"{sum(numbers)}\n".encode())
