import sys

sys.stdout.write(sys.stdin.read().upper().rstrip("\n"))
