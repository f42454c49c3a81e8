import pprint
import sys

print("a", "b", sep="-", end="!\n", flush=True)
print(*[1, 2, 3], sep="\n", file=sys.stdout)
sys.stderr.write("a remark\n")
pprint.pprint({"k": [1, 2]})
print(f"{3.14159:.2f} {10:05d} {255:#x} {'x':>3}")
print("%d %s" % (1, "two"), "{0} {1}".format(1, 2))
print("naïve ☃ 漢字 😀")
