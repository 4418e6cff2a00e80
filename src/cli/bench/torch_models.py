"""The models of transformer.ts and unet.ts in PyTorch: `torch_models.py NAME REPETITIONS THREADS` prints the median time of a step as JSON."""
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Layer(nn.Module):
    def __init__(self, dim, mlp):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(dim), RMSNorm(dim)
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(dim, mlp, bias=False) for _ in range(2))
        self.down = nn.Linear(mlp, dim, bias=False)


class Transformer(nn.Module):
    def __init__(self, layers=4, dim=256, heads=4, mlp=704, vocab=2048, tokens=512):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.embed = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Layer(dim, mlp) for _ in range(layers))
        self.norm, self.head = RMSNorm(dim), nn.Linear(dim, vocab, bias=False)
        half = dim // heads // 2
        angles = torch.arange(tokens).float()[:, None] * 10000 ** (-torch.arange(half).float() / half)
        angles = torch.cat([angles, angles], 1)
        self.register_buffer('cos', angles.cos())
        self.register_buffer('sin', angles.sin())
        self.register_buffer('mask', torch.triu(torch.full((tokens, tokens), -1e9), 1))

    def rope(self, x, start):
        half, tokens = x.shape[-1] // 2, x.shape[2]
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[start:start + tokens] + turned * self.sin[start:start + tokens]

    def forward(self, ids, cache=None, start=0):
        batch, tokens = ids.shape
        split = lambda x: x.view(batch, tokens, self.heads, -1).transpose(1, 2)
        x = self.embed(ids)
        for i, layer in enumerate(self.layers):
            h = layer.norm1(x)
            q, k, v = self.rope(split(layer.q(h)), start), self.rope(split(layer.k(h)), start), split(layer.v(h))
            if cache is not None:
                if cache[i] is not None:
                    k, v = torch.cat([cache[i][0], k], 2), torch.cat([cache[i][1], v], 2)
                cache[i] = (k, v)
            scores = q @ k.transpose(-1, -2) / math.sqrt(self.dim // self.heads)
            if tokens > 1:
                scores = scores + self.mask[:tokens, :tokens]
            x = x + layer.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, self.dim))
            h = layer.norm2(x)
            x = x + layer.down(F.silu(layer.gate(h)) * layer.up(h))
        return self.head(self.norm(x))


CHANNELS, TIME, GROUPS, HEADS, CONTEXT, LATENT = [32, 64, 128], 128, 8, 4, 256, 4


class Residual(nn.Module):
    def __init__(self, inputs, out):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(GROUPS, inputs), nn.GroupNorm(GROUPS, out)
        self.c1, self.c2 = nn.Conv2d(inputs, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.t = nn.Linear(TIME, out)
        self.s = nn.Conv2d(inputs, out, 1) if inputs != out else nn.Identity()

    def forward(self, x, time):
        h = self.c1(F.silu(self.n1(x))) + self.t(time)[:, :, None, None]
        return self.s(x) + self.c2(F.silu(self.n2(h)))


class Mix(nn.Module):
    def __init__(self, dim, context):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(dim, dim, bias=False), nn.Linear(context, dim, bias=False), nn.Linear(context, dim, bias=False)
        self.o = nn.Linear(dim, dim)

    def forward(self, x, context):
        batch, tokens, dim = x.shape
        q, k, v = (t.view(batch, t.shape[1], HEADS, dim // HEADS).transpose(1, 2) for t in (self.q(x), self.k(context), self.v(context)))
        scores = q @ k.transpose(-1, -2) / math.sqrt(dim // HEADS)
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, dim))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.n = nn.GroupNorm(GROUPS, dim)
        self.pi, self.po = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)
        self.l1, self.l2, self.l3 = (nn.LayerNorm(dim) for _ in range(3))
        self.s, self.c = Mix(dim, dim), Mix(dim, CONTEXT)
        self.f1, self.f2 = nn.Linear(dim, 8 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x, context):
        batch, dim, height, width = x.shape
        y = self.pi(self.n(x)).permute(0, 2, 3, 1).reshape(batch, height * width, dim)
        h = self.l1(y)
        y = y + self.s(h, h)
        y = y + self.c(self.l2(y), context)
        value, gate = self.f1(self.l3(y)).chunk(2, -1)
        y = y + self.f2(value * F.silu(gate))
        return x + self.po(y.reshape(batch, height, width, dim).permute(0, 3, 1, 2))


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.t1, self.t2 = nn.Linear(CHANNELS[0], TIME), nn.Linear(TIME, TIME)
        self.inp = nn.Conv2d(LATENT, CHANNELS[0], 3, padding=1)
        m, width = {}, CHANNELS[0]
        skips = [width]
        last = len(CHANNELS) - 1
        for i, out in enumerate(CHANNELS):
            m[f'd{i}'], width = Residual(width, out), out
            if i > 0:
                m[f'da{i}'] = Block(width)
            skips.append(width)
            if i < last:
                m[f'ds{i}'] = nn.Conv2d(width, width, 3, 2, 1)
                skips.append(width)
        m['m1'], m['ma'], m['m2'] = Residual(width, width), Block(width), Residual(width, width)
        for i in reversed(range(last + 1)):
            for j in range(2):
                m[f'u{i}{j}'], width = Residual(width + skips.pop(), CHANNELS[i]), CHANNELS[i]
            if i > 0:
                m[f'ua{i}'] = Block(width)
                m[f'us{i}'] = nn.Conv2d(width, width, 3, padding=1)
        self.m = nn.ModuleDict(m)
        self.norm, self.out = nn.GroupNorm(GROUPS, width), nn.Conv2d(width, LATENT, 3, padding=1)

    def forward(self, x, time, context):
        time = F.silu(self.t2(F.silu(self.t1(time))))
        h = self.inp(x)
        skips, last = [h], len(CHANNELS) - 1
        for i in range(last + 1):
            h = self.m[f'd{i}'](h, time)
            if i > 0:
                h = self.m[f'da{i}'](h, context)
            skips.append(h)
            if i < last:
                h = self.m[f'ds{i}'](h)
                skips.append(h)
        h = self.m['m2'](self.m['ma'](self.m['m1'](h, time), context), time)
        for i in reversed(range(last + 1)):
            for j in range(2):
                h = self.m[f'u{i}{j}'](torch.cat([h, skips.pop()], 1), time)
            if i > 0:
                h = self.m[f'ua{i}'](h, context)
                h = self.m[f'us{i}'](F.interpolate(h, scale_factor=2))
        return self.out(F.silu(self.norm(h)))


def transformer():
    model = Transformer(tokens=128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids, labels = torch.randint(0, 2048, (16, 128)), torch.randint(0, 2048, (2048,))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids).view(-1, 2048), labels)
        loss.backward()
        optimizer.step()
        loss.item()
    return step


def unet(frozen=False, channels_last=False):
    model = Unet()
    x, noise = torch.randn(8, LATENT, 32, 32), torch.randn(8, LATENT, 32, 32)
    time_embedding, context = torch.randn(8, CHANNELS[0]), torch.randn(8, 16, CONTEXT, requires_grad=frozen)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if frozen:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    optimizer = None if frozen else torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        context.grad = None
        if optimizer:
            optimizer.zero_grad()
        loss = F.mse_loss(model(x, time_embedding, context), noise)
        loss.backward()
        if optimizer:
            optimizer.step()
        loss.item()
    return step


def guided(steps=10):
    model = Unet().eval()

    @torch.no_grad()
    def step():
        x, time_embedding, context = torch.randn(1, LATENT, 32, 32), torch.randn(2, CHANNELS[0]), torch.randn(2, 16, CONTEXT)
        for _ in range(steps):
            without, given = model(x.repeat(2, 1, 1, 1), time_embedding, context).chunk(2)
            x = x - 0.02 * (without + 7.5 * (given - without))
        x.sum().item()
    return step


def decode(prompt=64, tokens=64):
    model = Transformer().eval()

    @torch.no_grad()
    def step():
        cache, ids, start = [None] * 4, torch.zeros(1, prompt, dtype=torch.long), 0
        for _ in range(tokens):
            logits = model(ids, cache, start)
            start += ids.shape[1]
            ids = logits[:, -1:].argmax(-1)
            ids.item()
    return step


def matmul(size):
    a, b = torch.randn(size, size), torch.randn(size, size)
    return lambda: a @ b.t()


def median(step, repetitions):
    step()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[repetitions // 2]


if __name__ == '__main__':
    name, repetitions, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    # The U-Net runs in the memory layout that is faster here.
    makes = {
        'transformer': [transformer], 'unet': [unet, lambda: unet(channels_last=True)], 'frozen': [lambda: unet(frozen=True)],
        'guided': [guided], 'decode': [decode], **{f'matmul-{size}': [lambda size=size: matmul(size)] for size in (256, 512, 1024, 2048)},
    }[name]
    print(json.dumps({'name': name, 'median': min(median(make(), repetitions) for make in makes), 'torch': torch.__version__, 'threads': threads}))
