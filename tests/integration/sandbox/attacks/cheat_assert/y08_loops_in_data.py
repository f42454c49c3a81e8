def secret(n):
    knot = [1]
    knot.append(knot)
    table = {"a": knot}
    table["b"] = table
    return [knot, table]
