"""`backprop` shows the attributions of its rules and tests them."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.attribution.backprop_exhibits import INDEPENDENT
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.result import Result
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.model import Model
from probe.runs.execute import run


def grid(result: Result) -> ImageGrid:
    (exhibit,) = result.exhibits
    assert isinstance(exhibit, ImageGrid)
    return exhibit


def without_relus(model: Model, activation: nn.Module) -> Model:
    layers = [activation if isinstance(layer, nn.ReLU) else layer for layer in model.network.children()]
    return Model(nn.Sequential(*layers), model.card)


def test_the_images_are_the_attributions_of_the_rules(convnet: Model, noise_images: Images) -> None:
    exhibit = grid(run("backprop", convnet, noise_images, examples=3, target="class 4"))
    assert exhibit.column_headers == ["image", "Gradient", "Deconvnet", "Guided backprop"]
    pixels = torch.from_numpy(np.stack(exhibit.images[::4])).permute(0, 3, 1, 2)
    fours = torch.full((3,), 4)
    for column, rule in ((1, "gradient"), (2, "deconvnet"), (3, "guided")):
        wanted = backpropagate(convnet, pixels, fours, rule=rule).permute(0, 2, 3, 1).numpy()  # type: ignore[arg-type]
        shown = np.stack(exhibit.images[column::4]) - 0.5
        inside = np.abs(shown) < 0.49
        for i in range(3):  # each picture has a full colour of its own
            clear = inside[i] & (np.abs(shown[i]) > 0.01)
            ratio = wanted[i][clear] / shown[i][clear]
            assert ratio == pytest.approx(np.full(len(ratio), ratio.mean()), rel=1e-2)
            limit = np.quantile(np.abs(wanted[i]), 0.99)
            assert ratio.mean() == pytest.approx(2 * limit, rel=1e-2)
            assert exhibit.labels[4 * i + column] == f"full colour {limit:.2g}"


def test_each_rule_carries_its_randomisation_test(convnet: Model, noise_images: Images) -> None:
    result = run("backprop", convnet, noise_images, examples=2)
    for key in ("gradient", "deconvnet", "guided_backprop"):
        for layers in ("last", "half"):
            number = result.numbers[f"similarity_{layers}_randomised_{key}"]
            assert number.n == 16
            assert number.low is not None
            assert number.high is not None
            assert -1 <= number.low <= number.value <= number.high <= 1


def test_the_layers_behind_a_channel_are_randomised(convnet: Model, noise_images: Images) -> None:
    result = run("backprop", convnet, noise_images, examples=2, target="4:7", rule="gradient")
    assert list(result.numbers) == [
        "similarity_last_randomised_gradient",
        "similarity_half_randomised_gradient",
    ]
    assert all((number.high or 1) < 0.5 for number in result.numbers.values())


def test_one_image_gives_no_intervals(convnet: Model, noise_images: Images) -> None:
    result = run("backprop", convnet, noise_images.select([0]))
    assert len(result.numbers) == 6
    assert all((number.n, number.low, number.high) == (1, None, None) for number in result.numbers.values())


def test_deconvnet_of_a_network_without_pooling_does_not_depend_on_the_image(noise_images: Images) -> None:
    from probe.model.cards import Card, Input

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(392, 10),
        )
    names = tuple(f"class {i}" for i in range(10))
    card = Card(
        name="strided",
        architecture="tests",
        classes=names,
        input=Input(
            shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, preprocess="resize 32, centre crop 32"
        ),
    )
    facts = grid(run("backprop", Model(network, card), noise_images)).facts
    assert (
        facts["other_image_similarity_deconvnet"]
        > INDEPENDENT
        > facts["other_image_similarity_guided_backprop"]
    )


def test_a_network_without_relus_shows_the_gradient_alone_and_says_so(
    convnet: Model, noise_images: Images
) -> None:
    smooth = without_relus(convnet, nn.Tanh())
    result = run("backprop", smooth, noise_images, examples=2)
    assert grid(result).column_headers == ["image", "Gradient"]
    (warning,) = result.warnings
    assert "no ReLU in convnet" in warning
    assert "only the gradient is shown" in warning
    with pytest.raises(
        UserError, match=r"no ReLU in convnet .* guided backprop would equal the plain gradient"
    ):
        run("backprop", smooth, noise_images, rule="guided")


def test_a_network_of_other_activations_shows_the_gradient_and_names_them(
    convnet: Model, noise_images: Images
) -> None:
    result = run("backprop", without_relus(convnet, nn.GELU()), noise_images, examples=2)
    assert grid(result).column_headers == ["image", "Gradient"]
    assert all("GELU (2 times)" in warning for warning in result.warnings)


@pytest.mark.parametrize("target", ["class 3", "3", "4:7", "4:7:2,5", "true", "contrast", "predicted"])
def test_every_kind_of_target_can_be_explained(convnet: Model, noise_images: Images, target: str) -> None:
    assert len(grid(run("backprop", convnet, noise_images, target=target, examples=2)).images) == 8


def test_a_target_that_does_not_exist_is_answered_in_one_line(convnet: Model, noise_images: Images) -> None:
    for target, message in (
        ("klass 3", "no class 'klass 3'. Did you mean class 3"),
        ("10", "there is no class 10: the classes of convnet are 0 to 9"),
        ("4", ""),
        ("4:12", "12 channels, 0 to 11"),
        ("4:0:16,0", "maps of 4 are 16 x 16"),
        ("nine:1", "no layer 'nine'"),
    ):
        if message:
            with pytest.raises(UserError) as error:
                run("backprop", convnet, noise_images, target=target)
            assert message in str(error.value)
            assert "\n" not in str(error.value)
        else:  # a number is a class where a layer has the same name
            run("backprop", convnet, noise_images, target=target, examples=1)
    bare = Images.from_tensor(noise_images.pixels(), name="bare")
    with pytest.raises(UserError, match="target=true needs the true classes, but bare has no labels"):
        run("backprop", convnet, bare, target="true")


def test_logits_that_are_not_finite_are_refused_in_one_line(convnet: Model, noise_images: Images) -> None:
    convnet.network.get_parameter("9.bias")[0] = torch.nan
    with pytest.raises(UserError, match="convnet produces NaN or infinity for some of noise"):
        run("backprop", convnet, noise_images)


def test_constant_images_are_shown_as_they_are(convnet: Model) -> None:
    from probe.exhibits.checks import check

    grey = Images.from_tensor(torch.full((2, 3, 32, 32), 0.5), name="grey")
    for exhibit in run("backprop", convnet, grey).exhibits:
        check(exhibit)
