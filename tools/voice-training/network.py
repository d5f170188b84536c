"""The speaker network: log-mel energies [batch, frames, 40] to an embedding [batch, 128]."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Channels mixed, time looked at (one filter a channel), channels mixed, channels weighed."""

    def __init__(self, channels, dilation, squeezed=48):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        look = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)
        self.look = nn.Sequential(look, nn.ReLU(), nn.BatchNorm1d(channels))
        self.leave = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.weigh = nn.Sequential(
            nn.Conv1d(channels, squeezed, 1), nn.ReLU(), nn.Conv1d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, sound):
        seen = self.leave(self.look(self.enter(sound)))
        return sound + seen * self.weigh(seen.mean(2, keepdim=True))


class Network(nn.Module):
    def __init__(self, bands=40, channels=160, pooled=256, embedding=128):
        super().__init__()
        first = nn.Conv1d(bands, channels, 5, stride=2, padding=2)
        self.first = nn.Sequential(first, nn.ReLU(), nn.BatchNorm1d(channels))
        self.blocks = nn.ModuleList(Block(channels, dilation) for dilation in (2, 3, 4))
        self.join = nn.Sequential(nn.Conv1d(3 * channels, pooled, 1), nn.ReLU())
        self.attend = nn.Sequential(nn.Conv1d(pooled, 64, 1), nn.Tanh(), nn.Conv1d(64, pooled, 1))
        self.last = nn.Sequential(
            nn.BatchNorm1d(2 * pooled), nn.Linear(2 * pooled, embedding), nn.BatchNorm1d(embedding)
        )

    def forward(self, frames):
        sound = self.first(frames.transpose(1, 2))
        seen = []
        for block in self.blocks:
            sound = block(sound)
            seen.append(sound)
        joined = self.join(torch.cat(seen, 1))
        share = torch.softmax(self.attend(joined), 2)
        mean = (joined * share).sum(2)
        spread = ((joined * joined * share).sum(2) - mean * mean).clamp(min=1e-5).sqrt()
        return self.last(torch.cat([mean, spread], 1))


class Directions(nn.Module):
    """The network with embeddings of length one: what is shipped."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames):
        return functional.normalize(self.network(frames))
