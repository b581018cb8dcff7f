"""Running on a device with I/O binding: the inputs go into device buffers that are kept and used again.

A set of buffers belongs to one combination of input shapes, in practice to one batch size. Outputs are bound to host
memory: their shapes may depend on the data, and the runtime's own copy back is the last step of its run anyway.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.core.model import Signature, TensorSpec
from workbench.core.tensor import Array, dtype_of
from workbench.errors import InvalidInput
from workbench.runtimes.ort import ort
from workbench.runtimes.ort_arrays import ELEMENT_NUMBERS, array_of, bits_of

KEPT_SHAPES = 16
"""Combinations of input shapes whose buffers are kept; the one unused for longest goes first."""

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Buffers:
    binding: ort.IOBinding
    values: tuple[ort.OrtValue, ...]
    """One for each input, in the signature's order."""


class DeviceBinding:
    """Runs one session for one thread at a time. BYTES tensors cannot be bound: such a model must not come here."""

    def __init__(self, session: ort.InferenceSession, signature: Signature, device_type: str, index: int) -> None:
        self._session = session
        self._inputs = signature.inputs
        self._dtypes = tuple(dtype_of(spec.datatype) for spec in signature.inputs)
        self._device = (device_type, index)
        self._kept: OrderedDict[Shapes, _Buffers] = OrderedDict()

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], options: ort.RunOptions | None = None
    ) -> list[Array]:
        """The named outputs, each in memory of its own."""
        arrays = self._in_order(inputs)
        buffers = self._buffers_for(tuple(array.shape for array in arrays))
        for value, array in zip(buffers.values, arrays, strict=True):
            value.update_inplace(bits_of(array) if array.dtype in ELEMENT_NUMBERS else array)
        binding = buffers.binding
        # Subtleness ahead: a run leaves the values it made bound, and the next would write into them, which by then
        # belong to a caller. So outputs are bound anew each time.
        for name in outputs:
            binding.bind_output(name)
        try:
            binding.synchronize_inputs()
            self._session.run_with_iobinding(binding, options)
            binding.synchronize_outputs()
            return [array_of(value) for value in binding.get_outputs()]
        finally:
            binding.clear_binding_outputs()

    def close(self) -> None:
        """Give back the buffers."""
        self._kept.clear()

    def _in_order(self, inputs: Mapping[str, Array]) -> list[Array]:
        # The runtime would take bytes of the wrong type for the right one: the copy into a buffer checks nothing.
        if len(inputs) > len(self._inputs):
            unknown = sorted(set(inputs) - {spec.name for spec in self._inputs})
            raise InvalidInput(f"the model has no input {unknown[0]!r}")
        arrays = []
        for spec, dtype in zip(self._inputs, self._dtypes, strict=True):
            array = inputs.get(spec.name)
            if array is None:
                raise InvalidInput(f"input {spec.name!r} is missing")
            if array.dtype != dtype:
                raise InvalidInput(f"input {spec.name!r} is {spec.datatype}; an array of {array.dtype} was given")
            _check_shape(spec, array)
            arrays.append(array if array.flags.c_contiguous else array.copy())
        return arrays

    def _buffers_for(self, shapes: Shapes) -> _Buffers:
        buffers = self._kept.get(shapes)
        if buffers is not None:
            self._kept.move_to_end(shapes)
            return buffers
        # The oldest go before the new are made, so that they never need the device's memory both at once.
        while len(self._kept) >= KEPT_SHAPES:
            self._kept.popitem(last=False)
        device_type, index = self._device
        binding = self._session.io_binding()
        values = []
        for spec, dtype, shape in zip(self._inputs, self._dtypes, shapes, strict=True):
            element = ELEMENT_NUMBERS.get(dtype, dtype.type)
            # From the session's own arena: under its memory limit, and given back with it.
            value = self._session.create_ortvalue_from_shape_and_type(shape, element, device_type, index)
            binding.bind_ortvalue_input(spec.name, value)
            values.append(value)
        made = self._kept[shapes] = _Buffers(binding, tuple(values))
        return made


def _check_shape(spec: TensorSpec, array: Array) -> None:
    # Before a buffer of that shape is made, which would push out a useful one.
    fits = len(spec.shape) == array.ndim and all(
        want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if spec.ranked and not fits:
        raise InvalidInput(f"input {spec.name!r} has shape {list(array.shape)}; the model takes {list(spec.shape)}")
