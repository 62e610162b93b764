"""A lock that is had in turn."""

import threading

from patience import until

from specialists.engine.native.turns import Turns


def test_who_waits_goes_before_who_comes_back():
    turns, order = Turns(), []

    def wait():
        with turns:
            order.append("who waited")

    thread = threading.Thread(target=wait)
    with turns:
        thread.start()
        until(lambda: turns._asked == 2, every=0.001)
    with turns:
        order.append("who came back")
    thread.join()
    assert order == ["who waited", "who came back"]


def test_only_one_has_it():
    turns, inside, most = Turns(), [], []

    def work():
        for _ in range(200):
            with turns:
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 800


def test_an_error_leaves_it_to_others():
    turns = Turns()
    try:
        with turns:
            raise ValueError
    except ValueError:
        pass
    with turns:
        pass
