"""Does the backprop analysis show the pictures of its rules, and say what they are worth?"""

import numpy as np
import pytest
import torch
from torch import nn

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


def test_the_pictures_are_those_of_the_rules(convnet: Model, noise_images: Images) -> None:
    exhibit = grid(run("backprop", convnet, noise_images, examples=3, target="class 4"))
    assert exhibit.column_headers == ["image", "Gradient", "Deconvnet", "Guided backprop"]
    pixels = torch.from_numpy(np.stack(exhibit.images[::4])).permute(0, 3, 1, 2)
    fours = torch.full((3,), 4)
    for column, rule in ((1, "gradient"), (2, "deconvnet"), (3, "guided")):
        wanted = backpropagate(convnet, pixels, fours, rule=rule).permute(0, 2, 3, 1).numpy()  # type: ignore[arg-type]
        shown = np.stack(exhibit.images[column::4]) - 0.5
        inside = np.abs(shown) < 0.49
        ratio = wanted[inside & (np.abs(shown) > 0.01)] / shown[inside & (np.abs(shown) > 0.01)]
        assert ratio == pytest.approx(np.full(len(ratio), ratio.mean()), rel=1e-2)
        assert ratio.mean() > 0


def test_each_rule_carries_its_verdict(convnet: Model, noise_images: Images) -> None:
    result = run("backprop", convnet, noise_images, examples=2)
    caption = grid(result).caption
    for title in ("Gradient", "Deconvnet", "Guided backprop"):
        both = [
            result.numbers[f"likeness with {what} shuffled, {title}"]
            for what in ("the last layer", "half of the layers")
        ]
        fails = any((number.low or 0) > 0.5 for number in both)
        passes = all((number.high or 0) <= 0.5 for number in both)
        said = "fails" if fails else "passes" if passes else "has no verdict from"
        assert f"{title} {said} the randomisation test" in caption
        assert any(f"{number.value:.2f} ({number.low:.2f} to" in caption for number in both)


def test_the_test_of_a_channel_shuffles_the_layers_behind_it(convnet: Model, noise_images: Images) -> None:
    result = run("backprop", convnet, noise_images, examples=2, target="4:7", rule="gradient")
    assert result.numbers["likeness with half of the layers shuffled, Gradient"].value < 0.5
    assert "Gradient passes the randomisation test" in grid(result).caption


def test_one_image_gets_no_firm_verdict(convnet: Model, noise_images: Images) -> None:
    caption = grid(run("backprop", convnet, noise_images.select([0]))).caption
    assert caption.count("has no verdict from the randomisation test") == 3
    assert "one image cannot tell" in caption


def test_deconvnet_of_a_network_without_pooling_is_said_to_be_blind(noise_images: Images) -> None:
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
    caption = grid(run("backprop", Model(network, card), noise_images)).caption
    assert (
        "Deconvnet is blind to the image: for the same question two images give pictures 1.00 alike."
        in caption
    )
    assert "Guided backprop is blind" not in caption


def test_a_network_without_relus_shows_the_gradient_alone_and_says_so(
    convnet: Model, noise_images: Images
) -> None:
    smooth = without_relus(convnet, nn.Tanh())
    result = run("backprop", smooth, noise_images, examples=2)
    assert grid(result).column_headers == ["image", "Gradient"]
    (warning,) = result.warnings
    assert "no ReLU in convnet" in warning
    assert "the gradient alone is shown" in warning
    with pytest.raises(
        UserError, match=r"no ReLU in convnet .* guided backprop would show the plain gradient"
    ):
        run("backprop", smooth, noise_images, rule="guided")


def test_a_network_of_other_activations_shows_the_gradient_and_names_them(
    convnet: Model, noise_images: Images
) -> None:
    result = run("backprop", without_relus(convnet, nn.GELU()), noise_images, examples=2)
    assert grid(result).column_headers == ["image", "Gradient"]
    assert all("GELU (2 times)" in warning for warning in result.warnings)


@pytest.mark.parametrize("target", ["class 3", "3", "4:7", "4:7:2,5", "true", "contrast", "predicted"])
def test_every_kind_of_target_can_be_asked_for(convnet: Model, noise_images: Images, target: str) -> None:
    assert len(grid(run("backprop", convnet, noise_images, target=target, examples=2)).images) == 8


def test_a_target_that_is_none_is_answered_in_one_line(convnet: Model, noise_images: Images) -> None:
    for target, said in (
        ("klass 3", "no class 'klass 3'. Did you mean class 3"),
        ("10", "classes 0 to 9: there is no class 10"),
        ("4", ""),
        ("4:12", "12 channels, 0 to 11"),
        ("4:0:16,0", "maps of 4 are 16 x 16"),
        ("nine:1", "no layer 'nine'"),
    ):
        if said:
            with pytest.raises(UserError) as error:
                run("backprop", convnet, noise_images, target=target)
            assert said in str(error.value)
            assert "\n" not in str(error.value)
        else:  # a number is a class where a layer has the same name
            run("backprop", convnet, noise_images, target=target, examples=1)
    bare = Images.from_tensor(noise_images.pixels(), name="bare")
    with pytest.raises(UserError, match="target=true needs the true classes, but bare has no labels"):
        run("backprop", convnet, bare, target="true")


def test_nan_in_the_answer_is_one_line(convnet: Model, noise_images: Images) -> None:
    convnet.network.get_parameter("9.bias")[0] = torch.nan
    with pytest.raises(UserError, match="convnet answers some of noise with NaN or infinity"):
        run("backprop", convnet, noise_images)


def test_constant_images_are_shown_as_they_are(convnet: Model) -> None:
    from probe.exhibits.checks import check

    grey = Images.from_tensor(torch.full((2, 3, 32, 32), 0.5), name="grey")
    for exhibit in run("backprop", convnet, grey).exhibits:
        check(exhibit)
