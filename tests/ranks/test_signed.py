"""Orders through a launcher's store prove that who gave them knows the run's secret."""

from __future__ import annotations

import pytest
from torch._C._distributed_c10d import HashStore

from partkit.data.orders import DescribeEnvironment, Stop
from partkit.errors import RankFailedError
from partkit.ranks.mailbox import Mailbox, serve
from partkit.ranks.signed import SignedStore

REFUSED = "is by somebody who does not know this run's PARTKIT_SECRET"


def nothing(order: object) -> DescribeEnvironment:
    raise AssertionError(f"a rank obeyed {order}")


def test_an_order_of_who_knows_the_secret_is_obeyed() -> None:
    store = HashStore()
    Mailbox(SignedStore(store, "secret", "run")).post(Stop())
    serve(SignedStore(store, "secret", "run"), 0, nothing)


@pytest.mark.parametrize(("secret", "run"), [("guess", "run"), ("", "run"), ("secret", "an earlier run")])
def test_an_order_under_another_secret_or_of_another_run_is_not(secret: str, run: str) -> None:
    store = HashStore()
    Mailbox(SignedStore(store, secret, run)).post(DescribeEnvironment())
    with pytest.raises(RankFailedError) as raised:
        serve(SignedStore(store, "secret", "run"), 0, nothing)
    assert raised.value.message == f"'command/0' in the launcher's store {REFUSED}"


@pytest.mark.parametrize("text", ['{"order": "describe"}', "00", "", "zz"])
def test_an_order_that_proves_nothing_is_not(text: str) -> None:
    store = HashStore()
    store.set("command/0", text)
    with pytest.raises(RankFailedError):
        serve(SignedStore(store, "secret", "run"), 0, nothing)


def test_an_order_is_not_repeated_under_another_number() -> None:
    store = HashStore()
    Mailbox(SignedStore(store, "secret", "run")).post(DescribeEnvironment())
    store.set("command/1", store.get("command/0"))
    with pytest.raises(RankFailedError, match=r"'command/1' in"):
        SignedStore(store, "secret", "run").get("command/1")
