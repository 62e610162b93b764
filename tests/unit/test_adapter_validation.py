import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_adapter import BASE, Q_A, Q_B, config, raw, tensors, weights

from registry.adapter import Limits, validate, warnings
from registry.errors import InvalidAdapter
from registry.manifest import canonical

LIMITS = Limits()


def check(config_bytes=None, weight_bytes=None, limits=LIMITS):
    return validate(
        config() if config_bytes is None else config_bytes,
        weights() if weight_bytes is None else weight_bytes,
        BASE,
        limits,
    )


def refusal(*arguments, **options):
    with pytest.raises(InvalidAdapter) as caught:
        check(*arguments, **options)
    assert caught.value.message.startswith(caught.value.file)
    caught.value.message.encode()
    return caught.value


def changed(**arrays):
    return weights(tensors() | arrays)


def test_a_plain_adapter_is_described():
    adapter = check()
    assert (adapter.kind, adapter.rank, adapter.targets) == ("lora", 4, ("self_attn.q_proj",))
    assert adapter.parameters == 2 * (4 * 16 + 16 * 4)
    assert adapter.config == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": 4,
        "lora_alpha": 8,
        "use_rslora": False,
        "target_modules": ["self_attn.q_proj"],
        "rank_pattern": {},
        "alpha_pattern": {},
        "bias": "none",
        "fan_in_fan_out": False,
    }


def test_equal_adapters_have_one_configuration():
    spellings = [
        config(),
        config(lora_alpha=8.0, lora_dropout=0.1, base_model_name_or_path="/tmp/x"),
        config(target_modules="all-linear"),
        config(target_modules=r".*\.q_proj$"),
        config(target_modules=["self_attn.q_proj"]),
        config(target_modules=["q_proj", "c_attn"]),
        config(target_modules=[f"model.layers.{n}.self_attn.q_proj" for n in (1, 0)]),
        config(alpha_pattern={"q_proj": 8}, rank_pattern={"k_proj": 2}),
    ]
    assert len({canonical(check(spelling).config) for spelling in spellings}) == 1


def test_the_rebuilt_configuration_is_its_own_rebuilding():
    patterns = {"rank_pattern": {"layers.0.self_attn.q_proj": 4}, "alpha_pattern": {"q_proj": 3.5}}
    once = check(config(r=2, use_rslora=True, **patterns), partial(0)).config
    assert once["rank_pattern"] == {"model.layers.0.self_attn.q_proj": 4}
    assert once["alpha_pattern"] == {"model.layers.0.self_attn.q_proj": 3.5}
    assert check(canonical(once), partial(0)).config == once


def partial(*layers):
    wanted = tuple(f"base_model.model.model.layers.{layer}." for layer in layers)
    return weights({n: t for n, t in tensors().items() if n.startswith(wanted)})


def test_an_adapter_of_some_layers_names_their_modules_in_full():
    assert check(None, partial(1)).config["target_modules"] == ["model.layers.1.self_attn.q_proj"]


def test_a_pattern_means_what_it_means_to_peft():
    """The first key that fits counts, a caret asks for the whole name."""
    modules = ("self_attn.q_proj", "mlp.up_proj")
    found = tensors(("self_attn.q_proj",), rank=2) | tensors(("mlp.up_proj",), rank=4)
    lora = config(
        target_modules=["q_proj", "up_proj"],
        rank_pattern={"^q_proj": 9, r"self_attn\.q_proj": 2, "q_proj": 7},
    )
    assert check(lora, weights(found)).rank == 4
    assert check(lora, weights(found)).targets == tuple(sorted(modules))


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "evil"}},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2}},
        {"unsloth_fixed": True, "runtime_config": {"ephemeral_gpu_offload": False}},
        {"exclude_modules": ["k_proj"], "layers_pattern": "layers", "task_type": None},
        {"layers_to_transform": [0, 1], "layers_pattern": ["layers"]},
        {"exclude_modules": ".*k_proj", "peft_version": "0.12.0"},
    ],
)
def test_what_trainers_write_beside_it_changes_nothing(fields):
    assert check(config(**fields)).config == check().config


@pytest.mark.parametrize(
    "fields",
    [{"layers_to_transform": 0}, {"exclude_modules": ["q_proj"]}, {"target_modules": ["x"]}],
)
def test_a_tensor_that_peft_would_ignore_is_refused(fields):
    error = refusal(config(**fields))
    assert error.file == "adapter_model.safetensors"
    assert "leaves this module out" in error.message


def test_a_regular_expression_means_what_it_means_to_peft():
    lora = config(alpha_pattern={r"layers\.[01]\.self_attn\.(q|k)_proj": 6, ".*": 7})
    assert set(check(lora).config["alpha_pattern"].values()) == {6}


def told(fields=None, found=None, **more):
    return warnings(config(**more | (fields or {})), weights(found or tensors()), BASE, Limits())


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        (None, False),
        (BASE.name, False),
        (f"/models/{BASE.name.upper()}/", False),
        (f"unsloth/{BASE.name}-bnb-4bit", False),
        ("meta-llama/Llama-3.2-1B", True),
    ],
)
def test_another_base_is_warned_of(said, warned):
    found = told(base_model_name_or_path=said)
    assert [("is served" in each) for each in found] == [True] * warned


@pytest.mark.parametrize(
    "quantised", ["-Q4_K_M", ".q8_0", "-IQ4_XS", "-f16", ".BF16", "-UD-Q4_K_XL"]
)
def test_a_base_of_few_bits_is_the_same_base(quantised):
    served = dataclasses.replace(BASE, name=f"{BASE.name}{quantised}")
    for said, warned in (f"meta/{BASE.name}", False), (f"{BASE.name[:-1]}", True):
        found = warnings(config(base_model_name_or_path=said), weights(tensors()), served, Limits())
        assert bool(found) == warned


def test_promised_layers_that_lack_and_an_adapter_without_effect_are_warned_of():
    assert told() == []
    one = {n: t for n, t in tensors().items() if ".layers.1." in n}
    [found] = told(found=one)
    assert "model.layers.0.self_attn.q_proj" in found
    assert told(found=one, layers_to_transform=[1]) == []
    silent = {n: t * 0 if "lora_B" in n else t for n, t in tensors().items()}
    [found] = told(found=silent)
    assert "changes nothing" in found


@pytest.mark.parametrize("dtype", [np.float16, np.uint16])
def test_half_precision_is_accepted(dtype):
    assert check(None, weights({n: t.astype(dtype) for n, t in tensors().items()})).rank == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"peft_type": "LOHA"}, "peft_type"),
        ({"peft_type": None}, "peft_type"),
        ({"r": 0}, "r must be"),
        ({"r": -1}, "r must be"),
        ({"r": 257}, "from 1 to 256"),
        ({"r": 4.0}, "r must be"),
        ({"r": True}, "r must be"),
        ({"r": None}, "r must be"),
        ({"r": 10**400}, "r must be"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": -8}, "lora_alpha"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"lora_alpha": True}, "lora_alpha"),
        ({"lora_alpha": 1e9}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"lora_alpha": 257}, "the scale of model.layers.0.self_attn.q_proj is 64.25"),
        ({"lora_alpha": 129, "use_rslora": True}, "the scale of"),
        ({"alpha_pattern": {"q_proj": 1000}}, "the scale of"),
        ({"alpha_pattern": {"q_proj": None}}, "alpha_pattern"),
        ({"rank_pattern": {"q_proj": 1000}}, "rank_pattern"),
        ({"rank_pattern": {"(a": 4}}, "no regular expression"),
        ({"rank_pattern": {"": 4}}, "no module's name"),
        ({"rank_pattern": {"x" * 256 + "*": 4}}, "no module's name"),
        ({"alpha_pattern": {f"q{n}*": 4 for n in range(65)}}, "over 64 keys"),
        ({"alpha_pattern": {r"(.|.|.)*(?<!j)": 4}}, "takes too long"),
        ({"rank_pattern": [4]}, "rank_pattern"),
        ({"target_modules": 3}, "target_modules"),
        ({"target_modules": [3]}, "target_modules"),
        ({"bias": "all"}, "'bias'"),
        ({"use_dora": True}, "'use_dora'"),
        ({"modules_to_save": ["lm_head"]}, "'modules_to_save'"),
        ({"init_lora_weights": "loftq"}, "'init_lora_weights'"),
        ({"init_lora_weights": "pissa"}, "'init_lora_weights'"),
        ({"loftq_config": {"loftq_bits": 4}}, "'loftq_config'"),
        ({"layer_replication": [[0, 1]]}, "'layer_replication'"),
        ({"layers_to_transform": "0"}, "layers_to_transform must"),
        ({"layers_to_transform": [True]}, "layers_to_transform must"),
        ({"exclude_modules": [3]}, "exclude_modules must"),
        ({"trainable_token_indices": [1]}, "'trainable_token_indices'"),
        ({"target_parameters": ["x"]}, "'target_parameters'"),
        ({"lora_bias": True}, "'lora_bias'"),
        ({"fan_in_fan_out": True}, "'fan_in_fan_out'"),
        ({"alora_invocation_tokens": [1]}, "'alora_invocation_tokens'"),
        ({"task_type": "SEQ_CLS"}, "'task_type'"),
        ({"use_rslora": "yes"}, "'use_rslora'"),
        ({"surprise": {"a": 1}}, "'surprise'"),
        ({"\ud800": 1}, "field"),
    ],
)
def test_a_configuration_is_refused_by_the_fields_name(fields, reason):
    error = refusal(config(**fields))
    assert error.file == "adapter_config.json"
    assert reason in error.message


@pytest.mark.parametrize(
    "name", ["use_dora", "modules_to_save", "layers_to_transform", "eva_config", "surprise"]
)
@pytest.mark.parametrize("empty", [None, False, "", [], {}])
def test_a_field_that_is_empty_changes_nothing(name, empty):
    assert check(config(**{name: empty})).config == check().config


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"null", b"\xff", b'{"r": NaN}', b'{"r": 1, "r": 2}', b"[" * 9999]
)
def test_a_configuration_that_is_no_json_object_is_refused(text):
    assert refusal(text).file == "adapter_config.json"


def test_sizes_are_bounded():
    assert "bytes" in refusal(b" " * (LIMITS.max_config_bytes + 1)).message
    small = dataclasses.replace(LIMITS, max_bytes=100)
    assert "at most 100" in refusal(limits=small).message
    assert "from 1 to 2" in refusal(limits=dataclasses.replace(LIMITS, max_rank=2)).message


def renamed(name):
    found = tensors()
    found[name] = found.pop(Q_A)
    return weights(found)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (Q_A.replace("layers.0", "layers.2"), "has 2 layers"),
        (Q_A.replace("layers.0", "layers.00"), "no LoRA factor"),
        (Q_A.replace("layers.0", "layers.99999999999"), "no LoRA factor"),
        (Q_A.replace("q_proj", "c_proj"), "no linear 'self_attn.c_proj'"),
        (Q_A.replace(".weight", ".default.weight"), "no LoRA factor"),
        (Q_A.replace("lora_A", "lora_embedding_A"), "no LoRA factor"),
        (Q_A.replace("lora_A.weight", "lora_magnitude_vector"), "no LoRA factor"),
        ("base_model.model.lm_head.weight", "no LoRA factor"),
        ("model.layers.0.self_attn.q_proj.weight", "no LoRA factor"),
        (Q_A + "\n", "no LoRA factor"),
    ],
)
def test_a_tensor_that_belongs_nowhere_is_refused_by_name(name, reason):
    error = refusal(config(target_modules="all-linear"), renamed(name))
    assert error.tensor == name.replace("\n", "\\n")
    assert reason in error.message


def test_every_factor_has_its_other():
    for present, missing in ((Q_A, Q_B), (Q_B, Q_A)):
        found = tensors()
        del found[missing]
        assert refusal(None, weights(found)).tensor == present


@pytest.mark.parametrize(
    ("name", "shape"), [(Q_A, (4, 15)), (Q_A, (64,)), (Q_A, ()), (Q_B, (16, 3)), (Q_B, (17, 4))]
)
def test_a_tensor_that_does_not_fit_the_base_is_refused_by_name(name, shape):
    error = refusal(None, changed(**{name: np.zeros(shape, np.float32)}))
    assert error.tensor in (Q_A, Q_B)
    assert "tiny needs" in error.message


def test_the_rank_is_the_configurations():
    error = refusal(config(r=3))
    assert error.tensor == Q_A
    assert "has rank 4, but adapter_config.json says 3" in error.message
    none = weights(tensors(rank=0))
    assert "has rank 0" in refusal(None, none).message


def test_tensors_and_targets_agree():
    assert refusal(config(target_modules=["k_proj"])).tensor == Q_A
    assert refusal(config(target_modules=[])).tensor == Q_A
    assert refusal(config(target_modules=["proj"])).tensor == Q_A
    missing = refusal(config(target_modules=["q_proj", "up_proj"]))
    assert "no tensor for 'up_proj'" in missing.message


def test_an_empty_file_of_tensors_is_refused():
    assert "no tensors" in refusal(None, raw(b"{}")).message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_that_are_not_finite_are_refused_by_the_tensors_name(dtype, value):
    array = np.zeros((16, 4), np.float32)
    array[11, 2] = value
    if dtype == "bfloat16":
        array = (array.view(np.uint32) >> 16).astype(np.uint16)
    else:
        array = array.astype(dtype)
    error = refusal(None, changed(**{Q_B: array}))
    assert error.tensor == Q_B
    assert "NaN or infinite" in error.message


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_largest_finite_values_are_accepted(dtype):
    largest = np.full((16, 4), np.finfo(dtype).max, dtype)
    assert check(None, changed(**{Q_B: -largest})).rank == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    "r",
    "lora_alpha",
    "target_modules",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "task_type",
    "init_lora_weights",
    "peft_type",
    "other",
]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3))
def test_any_configuration_is_rebuilt_or_refused(fields):
    try:
        adapter = check(config(**fields))
    except InvalidAdapter as error:
        error.message.encode()
    else:
        assert json.loads(canonical(adapter.config)) == adapter.config
        assert check(canonical(adapter.config)).config == adapter.config
