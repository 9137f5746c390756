"""A 1-D ConvNet for text. Kim 2014, arXiv 1408.5882."""

from torch import Tensor, nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he


def text_convnet(*, classes: int = 1, vocabulary: int = 10_000) -> nn.Sequential:
    """Embedding of 128, two convolutions of 32 over 7 words, global max-pooling. 1,315,937 parameters.

    Input: (n, tokens) word indices in [0, vocabulary), at least 41 tokens. Output: (n, classes) logits; one class means
    one logit, for binary classification.
    """
    return he(
        chain(
            embedding=nn.Embedding(vocabulary, 128),
            channels_first=ChannelsFirst(),
            conv1=nn.Conv1d(128, 32, 7),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool1d(5),
            conv2=nn.Conv1d(32, 32, 7),
            relu2=nn.ReLU(),
            pool2=nn.AdaptiveMaxPool1d(1),
            flatten=nn.Flatten(),
            dense=nn.Linear(32, classes),
        )
    )


class ChannelsFirst(nn.Module):
    """(n, tokens, channels) -> (n, channels, tokens)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)
