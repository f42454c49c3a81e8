secret = 93516
