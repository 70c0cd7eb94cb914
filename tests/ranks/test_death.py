"""Which rank's end is the first cause."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from partkit.errors import OutOfMemoryError
from partkit.ranks.death import Ended, first_cause, has_cause
from partkit.ranks.failure import Failure, failure_of


def ended(rank: int, code: int, at: float) -> Ended:
    return Ended(rank, code, at, activity=" during 'run'", last_seen="; last seen at node add", last_words="bye")


def name_of(rank: int) -> str:
    return f"rank {rank}"


LOST = Failure(0, "RuntimeError: Connection reset by peer", at=1.0, is_consequence=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "rank 1 ended with exit code 3 during 'run'; last seen at node add: bye"),
        (0, "rank 1 ended with exit code 0 during 'run'; last seen at node add: bye"),
        (-7, "rank 1 was ended by SIGBUS during 'run'; last seen at node add"),
        (-40, "rank 1 was ended by signal 40 during 'run'; last seen at node add"),
    ],
)
def test_a_rank_that_ended_without_word_is_blamed_and_not_the_one_that_lost_it(code: int, message: str) -> None:
    assert not has_cause([ended(0, 5, at=1.0)], [LOST])
    ranks = [ended(0, 5, at=1.0), ended(1, code, at=1.5)]  # the one that died is seen later
    assert has_cause(ranks, [LOST])
    assert first_cause(ranks, [LOST], name_of, hint="see the log").message == message


def test_of_an_error_and_an_abort_that_follows_it_the_error_is_the_cause() -> None:
    told = [LOST, Failure(1, "CUDA out of memory", at=1.0, is_consequence=False, is_out_of_memory=True)]
    error = first_cause([ended(2, -6, at=1.2), ended(1, 5, at=1.3)], told, name_of, hint="see the log")
    assert (type(error), error.message) == (OutOfMemoryError, "rank 1 failed: CUDA out of memory")


def test_where_all_only_lost_others_the_first_says_so() -> None:
    told = [LOST, Failure(1, "later", at=2.0, is_consequence=True)]
    error = first_cause([ended(0, 5, 1.0), ended(1, 5, 2.0)], told, name_of, hint="see the log")
    assert error.message == "rank 0 failed: RuntimeError: Connection reset by peer"


@pytest.mark.parametrize(
    ("error", "is_consequence"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection reset by peer"), True),
        (RuntimeError("Gloo connectFullMesh failed with Connection refused"), True),
        (RuntimeError("[unbound_buffer.cc] Connection closed by peer [127.0.0.1]:2345"), True),
        (dist.DistStoreError("wait timeout after 300000ms"), True),
        (ConnectionResetError(104, "Connection reset by peer"), False),
        (ValueError("Connection closed by peer"), False),
    ],
)
def test_what_gloo_says_of_a_lost_peer_is_a_consequence_and_a_model_s_own_words_are_not(
    error: Exception, is_consequence: bool
) -> None:
    assert failure_of(error, rank=0).is_consequence is is_consequence
