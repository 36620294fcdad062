"""Strategies that fail at the third trial, each in another way."""

from autoopt.strategy import AtRandom, Strategy


class Raising(AtRandom):
    def propose(self, history, number, seed):
        return super().propose(history, number, seed) if number < 2 else history[number]


class Outside(AtRandom):
    def propose(self, history, number, seed):
        return super().propose(history, number, seed) | ({"optimizer.adamw.lr": 5.0, "optimizer": "adamw"} if number == 2 else {})


class Stopping(AtRandom):
    def __init__(self, space):
        super().__init__(space)
        self.rungs = (1,)

    def stop(self, history, number, epoch):
        return number == 2 and 1 / 0


def raising(space) -> Strategy:
    return Raising(space)


def outside(space) -> Strategy:
    return Outside(space)


def stopping(space) -> Strategy:
    return Stopping(space)
