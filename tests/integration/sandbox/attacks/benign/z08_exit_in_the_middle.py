import atexit
import sys

atexit.register(lambda: print("bye"))
print("hello")
try:
    sys.exit()
finally:
    print("finally")
