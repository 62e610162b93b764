"""What the kernels need of a processor's vectors, on each kind of processor that they are for."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from specialists.engine.native import compile as native
from specialists.errors import NoKernels

TIMES = 200
LANES = 8
VNNI = Path(__file__).parents[2] / ".ci" / "vnni.h"
KINDS = {
    "here": (),
    "without products of bytes": ("-march=haswell",),
    "with products of bytes": ("-march=haswell", "-include", str(VNNI)),
    "arm": ("-march=armv8.2-a+dotprod", "-static"),
}
HALVES = np.arange(1 << 16, dtype=np.uint16)
EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")


def compiler_for(kind):
    """What compiles for a kind of processor, and what runs it; skips the test if there is none."""
    if kind != "arm":
        try:
            native.kernels()
        except NoKernels as error:
            pytest.skip(str(error))
        if kind != "here" and native.machine() != "x86_64":
            pytest.skip("another processor")
        return native.compiler(), ()
    cross = shutil.which("aarch64-linux-gnu-g++")
    emulator = next(filter(None, map(shutil.which, EMULATORS)), None)
    if cross is None or emulator is None:
        pytest.skip("Debian's packages g++-aarch64-linux-gnu and qemu-user emulate an Arm")
    return cross, (emulator,)


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    """Does an operation for rows of operands, each as an array; rows of what comes out."""
    compiler, emulator = compiler_for(request.param)
    made = tmp_path_factory.mktemp("simd") / "simd"
    source, headers = Path(__file__).with_name("simd.cpp"), Path(native.__file__).parent
    here = [each for each in native.OPTIONS if each not in ("-shared", "-fPIC")]
    options = [each for each in here if KINDS[request.param] == () or "-march" not in each]
    command = [compiler, *options, *KINDS[request.param], f"-I{headers}", source, "-o", made]
    subprocess.run(command, check=True)

    def does(operation, *operands, gives=np.float32):
        rows = np.concatenate([part.view(np.uint8) for part in operands], axis=1)
        ran = subprocess.run(
            [*emulator, made, operation], input=rows.tobytes(), capture_output=True, check=True
        )
        return np.frombuffer(ran.stdout, gives).reshape(len(rows), -1)

    return does


def drawn(seed, count=LANES, low=-4.0, high=4.0):
    """Rows of floats of either sign."""
    found = np.random.default_rng(seed).uniform(low, high, (TIMES, count)).astype(np.float32)
    found[0] = 0
    return found


def bytes_drawn(seed, count=32, dtype=np.int8):
    """Rows of bytes, the extremes first; as kernels have them, with a sign they end at -127."""
    low, high = (0, 255) if dtype is np.uint8 else (-127, 127)
    found = np.random.default_rng(seed).integers(low, high + 1, (TIMES, count)).astype(dtype)
    found[0], found[1], found[2] = low, high, 0
    return found


def same(got, wanted):
    """Equal, signs and what is no number too."""
    return np.array_equal(got, wanted, equal_nan=True) and np.array_equal(
        np.signbit(got[got == 0]), np.signbit(wanted[got == 0])
    )


def sums_of(products, together):
    return products.reshape(len(products), -1, together).sum(axis=2)


def test_halves_become_floats(run):
    with np.errstate(invalid="ignore"):
        wanted = HALVES.view(np.float16).astype(np.float32)
    assert same(run("halves", HALVES.reshape(-1, LANES)).ravel(), wanted)
    assert same(run("single", HALVES.reshape(-1, 1)).ravel(), wanted)
    bits = HALVES.astype(np.uint32) << 16
    assert same(run("brains", HALVES.reshape(-1, LANES)).ravel(), bits.view(np.float32))


def test_floats_are_rounded_to_the_nearest_halves(run):
    values = np.concatenate(
        [drawn(1), drawn(2, low=-7e4, high=7e4), drawn(3, low=-1e-7, high=1e-7)]
    )
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
    assert same(run("store_halves", values, gives=np.float16), wanted)


def test_floats_are_rounded_to_the_nearest_bytes(run):
    values = drawn(4, low=-127, high=127)
    values[1:3] = np.arange(-4, 4) + 0.5
    assert np.array_equal(
        run("store_bytes", values, gives=np.int8), np.rint(values).astype(np.int8)
    )


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("add", np.add),
        ("take", np.subtract),
        ("times", np.multiply),
        ("over", np.divide),
        ("larger", np.maximum),
        ("smaller", np.minimum),
    ],
)
def test_two_operands(run, operation, wanted):
    a, b = drawn(5), drawn(6)
    b[0] = 1
    assert same(run(operation, a, b), wanted(a, b))


def test_one_operand(run):
    a = drawn(7, low=-1000, high=1000)
    a[1:3] = np.arange(-4, 4) + 0.5
    assert same(run("magnitude", a), np.abs(a))
    assert np.array_equal(run("rounded", a), np.rint(a))
    exponents = np.rint(drawn(8, low=-110, high=117))
    assert same(run("scaled", a, exponents), np.ldexp(a, exponents.astype(int)).astype(np.float32))


def test_a_product_is_not_rounded_before_it_is_added_to(run):
    # Products of floats are exact in doubles; so are these sums, which cancel.
    a, b = drawn(9), drawn(10)
    c = -(a * b)
    assert same(run("fused", a, b, c), (a.astype(float) * b + c).astype(np.float32))


def test_what_does_not_reach_the_least_is_nothing(run):
    x, least, a = drawn(11), drawn(12), drawn(13)
    x[1] = least[1]
    assert np.array_equal(run("where", x, least, a), np.where(x < least, 0, a))


def test_lanes_are_moved_down(run):
    a = drawn(14)
    wanted = [np.pad(a[:, first:], ((0, 0), (0, first))) for first in range(LANES)]
    assert np.array_equal(run("from_lane", a), np.concatenate(wanted, axis=1))


def test_lanes_are_taken_together(run):
    # Whole numbers, so that any order of adding gives the same.
    a = np.rint(drawn(15, 4 * LANES, low=-1000, high=1000))
    assert np.array_equal(run("store_sums", a), sums_of(a, LANES))
    one = a[:, :LANES].copy()
    assert np.array_equal(run("sum", one), sums_of(one, LANES))
    assert np.array_equal(run("largest", one), one.max(axis=1, keepdims=True))


def test_exponentials_are_off_by_two_in_the_last_place_at_most(run):
    x = drawn(16, 2 * LANES, low=-87.3, high=88.3)
    found, wanted = run("exponential", x), np.exp(x.astype(float))
    assert (np.abs(found - wanted) <= 2 * np.spacing(wanted.astype(np.float32))).all()
    assert not run("exponential", drawn(17, 2 * LANES, low=-1e4, high=-87.4)[1:]).any()


def test_products_of_bytes_are_exact(run):
    a, b = bytes_drawn(18), bytes_drawn(19)
    assert np.array_equal(run("signed_products", a, b), sums_of(a.astype(int) * b, 4))


def test_products_of_weights_without_a_sign_are_exact(run, request):
    if request.node.callspec.params["run"] == "without products of bytes":
        pytest.skip("there they are added in another way, which the kernels' own tests are about")
    weights, inputs = bytes_drawn(20, dtype=np.uint8), bytes_drawn(21)
    wanted = sums_of(weights.astype(int) * inputs, 4)
    assert np.array_equal(run("add_products", weights, inputs), wanted)


def test_products_of_bytes_with_longer_numbers_are_exact(run):
    a = bytes_drawn(22, 16, np.uint8).astype(np.int16)
    b = np.random.default_rng(23).integers(-32767, 32768, (TIMES, 16)).astype(np.int16)
    b[0] = 32767
    wanted = 1 + sums_of(a.astype(int) * b, 2)
    assert np.array_equal(run("add_pairs", a, b), wanted)


def test_every_other_byte_is_taken_as_16_bits(run):
    both = bytes_drawn(25, dtype=np.uint8)
    wanted = np.concatenate([both[:, ::2], both[:, 1::2]], axis=1)
    assert np.array_equal(run("every_other_byte", both, gives=np.int16), wanted)


def test_bytes_are_taken_apart(run):
    both = bytes_drawn(24, dtype=np.uint8)
    wanted = np.concatenate([both & 15, both >> 4], axis=1)
    assert np.array_equal(run("nibbles", both, gives=np.int8), wanted)
