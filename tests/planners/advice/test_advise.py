"""Advice with answers that are known: machines and models where one way is plainly best."""

from __future__ import annotations

import pytest

from partkit.data.advice import Advice, Choice
from partkit.data.cluster import Cluster, Device, Link
from partkit.data.device_calibration import RESIDUAL
from partkit.data.profile import Calibration, Node, Profile, ProfiledDevice
from partkit.data.published_errors import PUBLISHED, PublishedErrors, published_errors
from partkit.executors import EXECUTORS
from partkit.planners.advice.advise import WAY_OF_EXECUTOR, WAYS, advise
from partkit.planners.advice.situation import Situation
from partkit.planners.make import make_plan
from partkit.planners.problem.request import PlanRequest

GB = 10**9
FAST = Link(bytes_per_s=1e12, latency_s=1e-7)
SLOW = Link(bytes_per_s=1e8, latency_s=1e-3)


def stack(num_layers: int = 8, *, layer_s: float = 1e-3, layer_bytes: int = GB, value_bytes: int = 1000) -> Profile:
    """Layers of a product each, in a row."""
    nodes = tuple(
        Node(
            name=f"linear_{index}",
            module=f"net.layers.{index}.dense",
            op="aten.linear.default",
            time_s=layer_s,
            parameters=(f"w{index}",),
            param_bytes=layer_bytes,
            output_bytes=value_bytes,
        )
        for index in range(num_layers)
    )
    edges = tuple((f"linear_{index}", f"linear_{index + 1}") for index in range(num_layers - 1))
    parameters = {f"w{index}": layer_bytes for index in range(num_layers)}
    return Profile(
        nodes=nodes, edges=edges, parameters=parameters, device=ProfiledDevice(type="cuda"), method="measured"
    )


def box(count: int = 4, *, memory: int | None = 80 * GB, link: Link = FAST, **more: object) -> Cluster:
    devices = tuple(Device(name=f"gpu{index}", type="cuda", memory_bytes=memory) for index in range(count))
    return Cluster(name="box", devices=devices, link=link, **more)  # type: ignore[arg-type]


def choice(advice: Advice, way: str) -> Choice:
    return next(each for each in advice.choices if each.way == way)


def test_a_model_that_each_device_holds_is_replicated_for_throughput() -> None:
    found = advise(stack(), box())
    assert found.best == "replicas"
    assert choice(found, "replicas").samples_per_s == pytest.approx(4 / 8e-3)
    assert "you don't need to split" in found.text
    assert found.choices[0].way == "replicas"


def test_a_model_that_no_device_holds_is_cut_into_a_pipeline() -> None:
    found = advise(stack(), box(memory=3 * GB))
    assert found.best == "pipeline"
    assert not choice(found, "single").fits
    assert not choice(found, "replicas").fits
    assert found.choices[-1].fits is False, "what does not fit comes last"
    assert found.text.endswith("; replicas, fsdp, single would not fit."), found.text


def test_latency_wants_tensor_parallelism_on_fast_links_and_one_device_on_slow_ones() -> None:
    """8 products of 100 ms, divided by 4; 16 all-reduces of 30 us beside their bytes, or of 6 ms and more."""
    heavy = stack(layer_s=0.1)
    found = advise(heavy, box(), "latency")
    assert found.best == "tp"
    assert choice(found, "tp").latency_s == pytest.approx(0.2, rel=0.01)
    assert advise(stack(), box(link=SLOW), "latency").best == "single"


def test_equal_latency_is_told_of_the_simplest_way() -> None:
    assert advise(stack(layer_s=1e-4), box(link=SLOW), "latency").best == "single"


def test_memory_wants_the_smallest_share() -> None:
    found = advise(stack(), box(), "memory")
    assert found.best in ("pipeline", "tp")
    assert choice(found, "pipeline").peak_bytes == pytest.approx(2 * GB, rel=0.01)
    assert choice(found, "tp").peak_bytes == pytest.approx(2 * GB, rel=0.01)
    assert choice(found, "fsdp").peak_bytes == pytest.approx(4 * GB, rel=0.01), "a quarter, and two layers gathered"


def test_fsdp_pays_for_what_it_gathers() -> None:
    slow = choice(advise(stack(), box(link=SLOW)), "fsdp")
    assert slow.latency_s == pytest.approx(60 * (1 + 1 / 8), rel=0.01), "three quarters of 8 GB at 0.1 GB/s"
    quick = choice(advise(stack(layer_s=0.5), box()), "fsdp")
    assert quick.samples_per_s == pytest.approx(1.0, rel=0.01), "computing hides it: four devices at 4 s an item"


def test_one_device_leaves_nothing_to_choose() -> None:
    found = advise(stack(), box(1))
    assert [each.way for each in found.choices] == ["single"]
    assert set(found.left_out) == set(WAYS) - {"single"}
    assert advise(stack(), box(1, memory=GB)).best is None


def test_cpu_devices_share_the_host_s_cores() -> None:
    profile = stack(layer_bytes=1000).model_copy(update={"device": ProfiledDevice(type="cpu")})
    devices = tuple(Device(name=f"cpu{index}", type="cpu") for index in range(2))
    machine = Cluster(devices=devices, link=FAST, overlap=False, shared_cores=1.0)
    found = advise(profile, machine)
    assert found.best == "single", "two replicas on one core are no faster"
    two = advise(profile, machine.model_copy(update={"shared_cores": 2.0}))
    assert (two.best, choice(two, "replicas").samples_per_s) == ("replicas", pytest.approx(250.0))


def test_unequal_devices_add_their_own_rates() -> None:
    machine = box(2)
    fast, slow = machine.devices[0], machine.devices[1].model_copy(update={"speed": 0.25})
    found = advise(stack(), machine.model_copy(update={"devices": (slow, fast)}))
    assert choice(found, "replicas").samples_per_s == pytest.approx(1.25 / 8e-3)
    assert choice(found, "single").samples_per_s == pytest.approx(1 / 8e-3), "on the faster one"
    assert choice(found, "pipeline").samples_per_s > choice(found, "single").samples_per_s


def test_a_model_without_numbered_layers_has_no_tensor_parallel_plan() -> None:
    nodes = tuple(Node(name=name, time_s=1e-3, param_bytes=GB) for name in "ab")
    found = advise(Profile(nodes=nodes, edges=(("a", "b"),)), box(2))
    assert "no numbered layers" in found.left_out["tp"]


def test_the_calibration_and_the_batch_count() -> None:
    profile = stack().model_copy(update={"calibration": Calibration(scale=2.0)})
    assert Situation(profile, box()).seconds == pytest.approx(16e-3)


def test_intervals_come_from_published_errors_of_the_same_way_device_and_method() -> None:
    known = published_errors("pipeline", "cuda", "measured")
    assert known is not None
    found = choice(advise(stack(), box(memory=3 * GB)), "pipeline")
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(found.samples_per_s / (1 + known.bound))
    assert (found.confidence, found.error_source is not None) == ("high", True)
    given = stack().model_copy(update={"method": "given"})
    assert choice(advise(given, box(memory=3 * GB)), "pipeline").interval is None


def test_the_bound_of_errors_covers_nine_in_ten_and_is_the_worst_of_few() -> None:
    many = PublishedErrors("x", "cpu", "measured", tuple(index / 100 for index in range(1, 21)), "made up")
    assert (many.bound, many.median) == (0.19, 0.11)
    assert PublishedErrors("x", "cpu", "measured", (0.3, 0.1), "made up").bound == 0.3
    assert all(each.source and each.way in WAYS for each in PUBLISHED)


def test_every_executor_goes_one_of_the_ways() -> None:
    assert set(WAY_OF_EXECUTOR) == set(EXECUTORS)
    assert set(WAY_OF_EXECUTOR.values()) == set(WAYS)


def test_a_plan_s_prediction_carries_the_interval_of_its_way_and_a_calibrated_one_its_residual() -> None:
    known = published_errors("pipeline", "cuda", "measured")
    assert known is not None
    told = make_plan(stack(), box(2), PlanRequest(num_stages=2)).prediction
    assert told.interval == pytest.approx((250 / (1 + known.bound), 250 / (1 - known.bound)))
    assert told.interval_source is not None
    assert "benchmarks/pipeline" in told.interval_source
    computed = stack().model_copy(update={"method": "analytic"})
    assert make_plan(computed, box(2), PlanRequest(num_stages=2)).prediction.interval is None
    calibrated = computed.model_copy(update={"provenance": {"calibration": {RESIDUAL: 0.25}}})
    told = make_plan(calibrated, box(2), PlanRequest(num_stages=2)).prediction
    assert told.interval == pytest.approx((200.0, 1000 / 3))
    assert choice(advise(calibrated, box(2)), "fsdp").interval is None, "kernels tell nothing of what FSDP adds"
