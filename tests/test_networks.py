"""The parts of the nets that are ours."""

from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rnnfv.networks import NextStepNetwork


def dropout(p):
    return NextStepNetwork(3, 3, hidden_size=4, projection_size=None, dropout=p).dropout.train()


@settings(deadline=None)  # torch loads parts of itself at its first backward pass
@given(
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_value_is_dropped_or_scaled_and_so_is_its_gradient(p, shape, dtype, seed):
    torch.manual_seed(seed)
    values = torch.randn(shape, dtype=dtype).requires_grad_()
    drop = dropout(p)
    torch.manual_seed(seed)
    out = drop(values)
    assert out.dtype == dtype
    dropped = min(round(p * 2**16), 2**16 - 1) / 2**16
    factors = torch.where(out == 0, 0, 1 / (1 - dropped)).to(dtype)
    assert p < 1 or not out.any()
    torch.testing.assert_close(out, values * factors)
    out.sum().backward()
    torch.testing.assert_close(values.grad, factors)
    torch.manual_seed(seed)
    assert torch.equal(drop(values), out)
    assert torch.equal(drop.eval()(values), values)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.99, 0.99999])
def test_what_is_kept_makes_up_for_what_is_dropped(p):
    torch.manual_seed(0)
    ones = torch.ones(2000, 2003, dtype=torch.float64)
    assert dropout(p)(ones).mean().item() == pytest.approx(1, abs=5 * (p / (1 - p) / ones.numel()) ** 0.5)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.99])
def test_the_share_dropped_is_that_of_torch(p):
    torch.manual_seed(0)
    ones = torch.ones(1000, 1003)
    ours, theirs = ((drop(ones) == 0).double() for drop in (dropout(p), nn.Dropout(p)))
    error = (p * (1 - p) / ones.numel()) ** 0.5
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=6 * error + 1e-5)
    assert ours.mean().item() == pytest.approx(p, abs=4 * error + 1e-5)
    # No row and no column is favoured, as it were if the bits of one word hung together.
    for dim in (0, 1):
        n = ones.shape[dim]
        assert (ours.mean(dim) - p).abs().max() < 6 * (p * (1 - p) / n) ** 0.5 + 1 / n
    for shift in (1, 2, 3, 4):
        flat = ours.flatten() - p
        assert (flat[shift:] * flat[:-shift]).mean().abs() < 6 * p * (1 - p) / flat.numel() ** 0.5 + 1e-5


@pytest.mark.parametrize("net", [{}, {"cell": "gru", "num_layers": 2}, {"projection_size": None}], ids=str)
@pytest.mark.parametrize("steps", [2047, 2048, 2049, 5000])
def test_a_long_sequence_in_pieces_has_the_hidden_states_of_the_whole(net, steps, monkeypatch):
    torch.manual_seed(0)
    network = NextStepNetwork(3, 3, hidden_size=5, **net).double().eval()
    inputs = torch.randn(2, steps, 3, dtype=torch.float64)
    advance = Mock(wraps=network.advance)
    monkeypatch.setattr(network, "advance", advance)
    whole = network.hidden(inputs).detach()
    assert [call.args[0].shape[1] for call in advance.call_args_list] == [steps]
    with torch.inference_mode():
        torch.testing.assert_close(network.hidden(inputs), whole)
    lengths = [call.args[0].shape[1] for call in advance.call_args_list]
    assert len(lengths) == 1 + -(-steps // 2048)
    assert sum(lengths) == 2 * steps
