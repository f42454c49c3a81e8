Solution = {"twoSum": None}
LIMITS = [1]
