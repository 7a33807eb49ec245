"""Tensors of a pretended CUDA device: data of the CPU under PyTorch's rules for devices.

Their device is `cuda:0` to all who ask, so that dispatch, factories and `Module.to` take the ways
that they take on a GPU. What would fail there fails here: operands on two devices, a wait during a
capture, a copy from memory that is not pinned during one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch

from tests.support.pretended_cuda.state import Call, Device
from tests.support.pretended_cuda.tree import mapped, tensors_in

DEVICE = torch.device("cuda:0")
VIEWS = {
    *("view", "slice", "select", "unsqueeze", "squeeze", "expand", "permute", "transpose", "t"),
    *("alias", "detach", "split", "unbind", "as_strided", "chunk", "diagonal", "unfold"),
    *("_unsafe_view", "_reshape_alias", "split_with_sizes", "view_as_real", "lift_fresh"),
}
DATA_DEPENDENT = ("nonzero", "masked_select", "unique", "_linalg_solve_ex", "_linalg_check_errors")

current: Device | None = None  # the pretended GPU; None: there is none


def gpu() -> Device:
    assert current is not None, "the pretended GPU is gone"
    return current


class DeviceTensor(torch.Tensor):
    """A tensor on the pretended GPU; `host` holds its values."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> DeviceTensor:
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=DEVICE,
            requires_grad=False,
        )
        made.host = host
        made.block = gpu().block_of(host.untyped_storage())
        found: DeviceTensor = made
        return found

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"DeviceTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        special = _SPECIAL.get(function)
        if special is not None:
            return special(*args, **(kwargs or {}))
        return torch._C._disabled_torch_function_impl(function, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return dispatch(function, args, kwargs or {})


def dispatch(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation of aten by the device's rules."""
    if _is_composite(function):  # in inference mode these come whole
        return function.decompose(*args, **kwargs)
    name = function.__name__.split(".")[0]
    flat = [*tensors_in((args, kwargs))]
    ours = [one for one in flat if isinstance(one, DeviceTensor)]
    if name == "copy_":
        return copy_(args[0], args[1], *args[2:], **kwargs)
    if name == "_to_copy" and "device" in kwargs and kwargs["device"] is not None:
        wanted = torch.device(kwargs["device"])
        if wanted.type != args[0].device.type:
            return _moved(args[0], wanted, function, kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key != "device"}
    if name == "_local_scalar_dense":
        gpu().sync("item")
        return function(*_bare(args))
    if ours:
        _check_devices(name, flat)
        _check_blas(name, flat)
    if name == "_pin_memory":
        return pin(args[0])
    if name.startswith(DATA_DEPENDENT) or (name == "index" and _by_mask(args[1])):
        gpu().sync(name)
    if "device" in kwargs:
        kwargs = kwargs | {"device": torch.device("cpu")}
    if kwargs.get("pin_memory") is False:
        kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    gpu().check()
    return _computed(name, function, args, kwargs)


def _check_blas(name: str, operands: list[torch.Tensor]) -> None:
    """cuBLAS, which computes products without a bias, can't do without split-k; as on an H200."""
    for dtype, short in ((torch.float16, "fp16"), (torch.bfloat16, "bf16")):
        setting = f"allow_{short}_reduced_precision_reduction"
        if name not in ("mm", "bmm") or operands[0].dtype != dtype:
            continue
        if not getattr(torch.backends.cuda.matmul, f"{setting}_split_k"):
            raise RuntimeError(
                f"torch.backends.cuda.matmul.{setting}(..., allow_splitk=False) requires the "
                "cuBLASLt backend"
            )


@cache
def _is_composite(function: Any) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if key in function.py_kernels:  # written for compilers: on the device it is one kernel
        return False
    found: bool = torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), key)
    return found


def _computed(name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """Compute on the host, and put what comes out where it belongs."""
    bare_args, bare_kwargs = _bare(args), _bare(kwargs)
    found = function(*bare_args, **bare_kwargs)
    wrappers = {id(one.host): one for one in _device_tensors((args, kwargs))}
    owned = {one.host.untyped_storage()._cdata for one in wrappers.values()}
    fresh = tuple(one for one in tensors_in(found) if one.untyped_storage()._cdata not in owned)

    def wrap(one: torch.Tensor) -> DeviceTensor:
        known = wrappers.get(id(one))
        if known is not None:
            return known
        if name in VIEWS and wrappers:  # a view is what its base is, in inference mode as well
            with torch.inference_mode(next(iter(wrappers.values())).is_inference()):
                return DeviceTensor(one)
        return DeviceTensor(one)

    wrapped = mapped(wrap, found)
    if name not in VIEWS:
        gpu().launch(name, Call(lambda: function(*bare_args, **bare_kwargs), fresh))
    return wrapped


def _check_devices(name: str, tensors: list[torch.Tensor]) -> None:
    """Numbers may come from the host, tensors may not."""
    for one in tensors:
        if not isinstance(one, DeviceTensor) and one.ndim > 0:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu! ({name} with {tuple(one.shape)}, pretended)"
            )
        if not isinstance(one, DeviceTensor) and gpu().capture is not None and name != "index":
            continue  # a number of the host is baked in, as on the device


def _moved(source: torch.Tensor, wanted: torch.device, function: Any, kwargs: Any) -> torch.Tensor:
    rest = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking")}
    rest.pop("pin_memory", None)
    is_async = bool(kwargs.get("non_blocking"))
    if wanted.type == "cuda":
        host = function(source, **rest)
        if host.untyped_storage()._cdata == source.untyped_storage()._cdata:
            host = host.clone()
        made = DeviceTensor(host)
        _count_to_device(source, is_async, lambda: host.copy_(source))
        return made
    assert isinstance(source, DeviceTensor)
    if is_async:
        raise AssertionError("a copy to the host that nobody waits for reads what is not there yet")
    gpu().counts.copies_to_host += 1
    gpu().sync("copy to host")
    copy: torch.Tensor = function(source.host, **rest)
    return copy


def copy_(target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """`Tensor.copy_` between and within devices."""
    if isinstance(target, DeviceTensor) and isinstance(source, DeviceTensor):
        _launch_copy(target.host, source.host)
    elif isinstance(target, DeviceTensor):
        host, given = target.host, source
        host.copy_(given)
        _count_to_device(source, non_blocking, lambda: host.copy_(given))
    else:
        assert isinstance(source, DeviceTensor)
        gpu().counts.copies_to_host += 1
        if non_blocking and is_pinned(target):
            gpu().check()
        else:
            gpu().sync("copy to host")
        target.copy_(source.host)
    return target


def _launch_copy(target: torch.Tensor, source: torch.Tensor) -> None:
    target.copy_(source)
    gpu().launch("copy_", Call(lambda: target.copy_(source), ()))


def _count_to_device(source: torch.Tensor, is_async: bool, again: Callable[[], Any]) -> None:
    gpu().check()
    gpu().counts.copies_to_device += 1
    if not (is_async and is_pinned(source)):
        gpu().sync("copy to device")
    elif gpu().capture is not None:
        gpu().launch("copy_", Call(again, ()))


# What Python's bindings do before they dispatch, with a guard that a build for CPUs lacks


def _getitem(self: torch.Tensor, index: Any) -> Any:
    if not isinstance(self, DeviceTensor):
        if isinstance(index, DeviceTensor) and index.ndim == 0:
            return self[int(index.item())]  # a number, which has to be waited for
        raise RuntimeError("indices should be either on cpu or on the same device (pretended)")
    if _by_mask(index if isinstance(index, tuple) else (index,)):
        gpu().sync("index")
    found = self.host[_bare(index)]
    if found.untyped_storage()._cdata != self.host.untyped_storage()._cdata:
        gpu().launch("index", Call(lambda: self.host[_bare(index)], (found,)))
    return DeviceTensor(found)


def _setitem(self: torch.Tensor, index: Any, value: Any) -> None:
    part = _getitem(self, index)
    if isinstance(value, torch.Tensor) and value.ndim:
        copy_(part, value)
        return
    number = value.item() if isinstance(value, torch.Tensor) else value
    part.host.fill_(number)
    gpu().launch("fill_", Call(lambda: part.host.fill_(number), ()))


def _contiguous(
    self: torch.Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    if self.is_contiguous(memory_format=memory_format):
        return self
    return self.clone(memory_format=memory_format)


def _item(self: torch.Tensor) -> Any:
    assert isinstance(self, DeviceTensor)
    gpu().sync("item")
    return self.host.item()


def _nonzero(self: torch.Tensor, *, as_tuple: bool = False) -> Any:
    assert isinstance(self, DeviceTensor)
    gpu().sync("nonzero")
    host: Any = self.host
    found: Any = host.nonzero(as_tuple=as_tuple)
    return mapped(DeviceTensor, found)


def _attention(*args: Any, **kwargs: Any) -> torch.Tensor:
    """One fused kernel there; here the CPU's, which rounds as a model on the CPU does."""
    _check_devices("scaled_dot_product_attention", [*tensors_in((args, kwargs))])
    bare_args, bare_kwargs = _bare(args), _bare(kwargs)
    function = torch.nn.functional.scaled_dot_product_attention
    found = function(*bare_args, **bare_kwargs)
    made = DeviceTensor(found)
    gpu().launch("attention", Call(lambda: function(*bare_args, **bare_kwargs), (found,)))
    return made


_SPECIAL: dict[Any, Any] = {
    torch.Tensor.__getitem__: _getitem,
    torch.Tensor.__setitem__: _setitem,
    torch.Tensor.copy_: copy_,
    torch.Tensor.contiguous: _contiguous,
    torch.Tensor.nonzero: _nonzero,
    torch.Tensor.item: _item,
    torch.Tensor.__int__: _item,
    torch.Tensor.__index__: _item,
    torch.Tensor.float: lambda self: self.to(torch.float32),
    torch.nn.functional.scaled_dot_product_attention: _attention,
}


# Pinned memory


def pin(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that the device reads without the host's help."""
    copy: Any = tensor.clone()
    copy.is_pretended_pinned = True
    found: torch.Tensor = copy
    return found


def is_pinned(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "is_pretended_pinned", False)


def _by_mask(index: Any) -> bool:
    return any(one.dtype == torch.bool for one in tensors_in(index))


def _bare(tree: Any) -> Any:
    return mapped(lambda one: one.host if isinstance(one, DeviceTensor) else one, tree)


def _device_tensors(tree: Any) -> Iterator[DeviceTensor]:
    return (one for one in tensors_in(tree) if isinstance(one, DeviceTensor))
