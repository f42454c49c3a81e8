import sys

line = "x" * 4096
while True:
    sys.stderr.write(line)
