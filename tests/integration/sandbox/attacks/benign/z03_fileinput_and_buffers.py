import fileinput
import io
import sys

lines = [line.rstrip("\n") for line in fileinput.input()]
out = io.StringIO()
for line in lines:
    print(line[::-1], file=out)
sys.stdout.write(out.getvalue())
sys.stdout.flush()
