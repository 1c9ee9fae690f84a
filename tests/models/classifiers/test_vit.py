"""Vision transformers: sizes of the published ones, patches, and what bad options say."""

import pytest
import torch

from calowatch.core.errors import InputError
from calowatch.models.attention import Attention
from calowatch.models.classifiers import ImageGeometry, build_classifier, find_classifier

RUNS = ImageGeometry(1, 64, 72)
TORCH = {
    "patch": (32, 32),
    "edge": "crop",
    "dim": 64,
    "heads": 2,
    "mlp": 256,
    "pool": "class",
    "dropout": 0.1,
}


def size(name, geometry, options=None):
    return sum(values.numel() for values in build_classifier(name, geometry, options or {}).parameters())


def block_size(dim, mlp):
    """Two normalisations, queries, keys, values and what joins heads, two layers of the MLP."""
    return 2 * 2 * dim + 4 * (dim * dim + dim) + (dim * mlp + mlp) + (mlp * dim + dim)


def test_sizes_of_the_keras_original():
    one = ImageGeometry(1, 64, 72, outputs=1)
    assert size("vit", one, {"head": (64,)}) == 556_033
    assert size("vit", one, {"head": (64,), "pool": "flatten"}) == 1_072_129


def test_size_of_the_torch_original():
    patches = (1024 * 64 + 64) + 64 + 5 * 64
    assert size("vit", RUNS, TORCH) == patches + 4 * block_size(64, 256) + 2 * 64 + (64 * 2 + 2) == 266_178


def test_size_of_the_mixture():
    block = block_size(32, 128) + (32 * 128 + 128) + (128 * 32 + 32) + 32 * 2
    assert (
        size("moe-vit", RUNS) == (1024 * 32 + 32) + 32 + 5 * 32 + 4 * block + 2 * 32 + (32 * 2 + 2) == 117_602
    )


@pytest.mark.parametrize(
    ("name", "geometry", "expected"),
    [
        ("egamma-two-branch", ImageGeometry(2, 32, 32), 12_992),
        ("jets-three-input", ImageGeometry(3, 125, 125, scalars=2), 22_798),
    ],
)
def test_sizes_of_the_source_networks(name, geometry, expected):
    assert size(name, geometry) == expected


def test_resnet15_has_fifteen_convolutions_beside_the_shortcut():
    network = build_classifier("resnet15", ImageGeometry(3, 125, 125), {})
    kernels = [m.kernel_size[0] for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sorted(kernels) == [1, *[3] * 14, 7]


@torch.no_grad()
def test_cropped_columns_are_never_seen_and_padding_hides_none():
    x = torch.rand(2, 1, 64, 72)
    far = x.clone()
    far[..., 64:] = 9.0
    cropping = build_classifier("vit", RUNS, TORCH).eval()
    assert torch.equal(cropping(x).logits, cropping(far).logits)
    padding = build_classifier("vit", RUNS, {**TORCH, "edge": "pad"}).eval()
    assert padding.patches.tiles == (2, 3)
    assert not torch.equal(padding(x).logits, padding(far).logits)


def test_patches_go_row_by_row():
    network = build_classifier("vit", ImageGeometry(2, 4, 6), {"patch": (2, 3), "dim": 8, "heads": 2})
    x = torch.arange(48.0).reshape(1, 2, 4, 6)
    found = network.patches(x)
    assert found.shape == (1, 4, 12)
    for n, (row, column) in enumerate([(0, 0), (0, 3), (2, 0), (2, 3)]):
        assert torch.equal(found[0, n], x[0, :, row : row + 2, column : column + 3].flatten())
    assert network.first_patch == 0
    assert build_classifier("vit", RUNS, TORCH).first_patch == 1


@torch.no_grad()
def test_numbers_beside_the_image_are_seen():
    network = build_classifier("vit", ImageGeometry(1, 64, 72, scalars=1), {"dim": 8, "heads": 2}).eval()
    x = torch.rand(1, 1, 64, 72)
    assert not torch.equal(network(x, torch.zeros(1, 1)).logits, network(x, torch.ones(1, 1)).logits)


def test_dropout_draws_while_training_only():
    network = build_classifier("vit", RUNS, TORCH)
    x = torch.rand(2, 1, 64, 72)
    assert not torch.equal(network.train()(x).logits, network(x).logits)
    assert torch.equal(network.eval()(x).logits, network(x).logits)


@pytest.mark.parametrize("explicit", [False, True])
def test_attention_bias_shuts_out(explicit):
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.rand(1, 4, 8)
    bias = torch.zeros(1, 1, 1, 4)
    bias[..., 3] = -torch.inf
    other = x.clone()
    other[:, 3] = 5.0
    found, again = (attention(given, bias, explicit=explicit)[0] for given in (x, other))
    torch.testing.assert_close(found[:, :3], again[:, :3])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch": (7, 9)}, "a divisor of 64 rows"),
        ({"patch": (8,)}, "rows and columns"),
        ({"patch": (65, 9), "edge": "crop"}, "smaller than the image"),
        ({"edge": "mirror"}, "error, crop or pad"),
        ({"heads": 3}, "a multiple of 3 heads"),
        ({"pool": "max"}, "mean, class or flatten"),
        ({"pach": (8, 9)}, "did you mean patch"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        build_classifier("vit", RUNS, options)


def test_what_a_name_gives_cannot_be_changed():
    with pytest.raises(InputError, match=r"options\.patch"):
        build_classifier("egamma-vit", ImageGeometry(2, 32, 32), {"patch": (4, 4)})
    with pytest.raises(InputError, match="did you mean moe-vit"):
        find_classifier("moevit")
    with pytest.raises(InputError, match="numbers beside the image"):
        build_classifier("jets-three-input", ImageGeometry(3, 125, 125), {})
