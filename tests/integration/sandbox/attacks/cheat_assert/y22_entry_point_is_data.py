secret = [93517]
