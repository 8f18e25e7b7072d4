"""Value, first and second gradients of an op and of its specification, compared by the one rule of
`tests/tolerances.py`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tests.tolerances import assert_close_to_exact

Function = Callable[..., Tensor]


def assert_orders_match(
    function: Function, specification: Function, inputs: Sequence[Tensor | None]
) -> None:
    """Compare two functions of `inputs`, the first of which decides the dtype of the result and
    others of which may be None: in the dtypes of the inputs and, the specification, in float64."""
    given = [value.detach() for value in inputs if value is not None]
    # Rounded once, so that every run starts from the same numbers.
    onward = [torch.randn(value.shape).to(value.dtype) for value in given]
    with torch.no_grad():
        upstream = torch.randn(specification(*inputs).shape).to(given[0].dtype)

    def everything(function: Function, wide: bool) -> list[Tensor]:
        def typed(value: Tensor) -> Tensor:
            return value.double() if wide else value

        leaves = [typed(value).detach().requires_grad_() for value in given]
        following = iter(leaves)
        y = function(*(None if value is None else next(following) for value in inputs))
        g = typed(upstream).detach().requires_grad_()
        first = torch.autograd.grad(y, leaves, g, create_graph=True)
        second = torch.autograd.grad(
            first,
            [*leaves, g],
            [typed(value) for value in onward],
            allow_unused=True,
            materialize_grads=True,
        )
        return [y, *first, *second]

    actual, rounded = everything(function, False), everything(specification, False)
    for one, two, three in zip(actual, rounded, everything(specification, True), strict=True):
        assert_close_to_exact(one, two, three)
