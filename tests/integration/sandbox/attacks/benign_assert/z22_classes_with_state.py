class Account:
    rate = 2

    def __init__(self, balance=0):
        self.balance = balance

    def pay(self, amount):
        if amount < 0:
            raise ValueError("negative")
        self.balance += amount
        return self.balance

    @property
    def doubled(self):
        return self.rate * self.balance

    @staticmethod
    def zero():
        return 0

    def __len__(self):
        return self.balance
