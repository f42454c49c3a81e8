def secret(function):
    function({"a": 1})
    function([1, 2, 3])
    return function(range(3))
