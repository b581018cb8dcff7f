"""Rules of operators on images and signals, [batch, channels, ...]: windows, pooling, resizing, and their norms."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    Mixed,
    NotUnderstood,
    Result,
    RowsMix,
    Shape,
    Value,
    axis_of,
    rank_of,
    same_rows,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import (
    MICROSOFT,
    Inputs,
    Node,
    free_of_rows,
    given,
    needed,
    numbers_of,
    present,
    rows_first,
    rule,
)
from workbench.graph.batch_axis.symbolic_sizes import Number, fresh


@rule("Conv ConvInteger")
@rule("FusedConv", domain=MICROSOFT)
def convolution(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:] if node.operator != "FusedConv" else inputs[1:3])
    return _convolution(node, needed(inputs, 0), needed(inputs, 1), given(inputs, 3) if node.domain else None)


@rule("QLinearConv")
@rule("QLinearConv", domain=MICROSOFT)
def quantized_convolution(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:])
    if node.whole("channels_last"):
        return _first_axis_only(needed(inputs, 0))
    return _convolution(node, needed(inputs, 0), needed(inputs, 3))


def _convolution(node: Node, x: Value, weights: Value, added: Value | None = None) -> Value:
    if x.rows is not None and x.rows.axis == 1 and node.whole("group", 1) > 1:
        raise NotUnderstood("computes across groups of the rows of the batch")
    _first_axis_only(x)
    kernel = node.list("kernel_shape") or (weights.shape[2:] if weights.shape else None)
    channels = weights.shape[0] if weights.shape else fresh()
    rows = same_rows([x] if added is None else [x, added])
    return Value((shape_of(x)[0], channels, *_windows(node, shape_of(x)[2:], kernel)), rows)


def _windows(node: Node, old: Shape, kernel: Sequence[Number] | None) -> Shape:
    """The sizes of the axes that a window of this size moves along."""
    count = len(old)
    strides, dilations = node.list("strides") or (1,) * count, node.list("dilations") or (1,) * count
    pads, auto = node.list("pads") or (0,) * 2 * count, node.text("auto_pad", "NOTSET")
    if kernel is None or any(len(one) != count for one in (kernel, strides, dilations)) or len(pads) != 2 * count:
        return tuple(fresh() for _ in old)
    new: list[Number] = []
    for axis, size in enumerate(old):
        window, stride = kernel[axis], strides[axis]
        if not isinstance(window, int) or stride < 1 or auto not in ("NOTSET", "VALID"):
            same = auto.startswith("SAME") and isinstance(size, int) and stride > 0
            new.append(-(-size // stride) if same else fresh())  # type: ignore[operator]
            continue
        padded = 0 if auto == "VALID" else pads[axis] + pads[axis + count]
        left = sizes.add(size, padded - ((window - 1) * dilations[axis] + 1))
        if node.whole("ceil_mode") and sizes.exactly(left, stride) is None:
            new.append(fresh())  # whose last window may start in the padding, and is dropped then
        else:
            new.append(sizes.add(sizes.floor_divide(left, stride), 1))
    return tuple(new)


def _first_axis_only(x: Value, rank: int | None = None) -> Value:
    """x with other sizes, its rows along its first axis."""
    if x.rows is not None and x.rows.axis != 0:
        raise RowsMix("computes across the rows of the batch")
    return Value((shape_of(x)[0], *(fresh() for _ in range((rank or rank_of(x)) - 1))), x.rows)


@rule("ConvTranspose")
@rule("ConvTransposeWithDynamicPads NhwcConv", domain=MICROSOFT)
def other_convolution(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:])
    x, weights = needed(inputs, 0), needed(inputs, 1)
    found = _first_axis_only(x)
    if node.operator != "ConvTranspose" or weights.shape is None or len(weights.shape) < 3:
        return found
    channels = sizes.multiply(weights.shape[1], node.whole("group", 1))
    return Value((shape_of(x)[0], channels, *_transposed_windows(node, shape_of(x)[2:], weights.shape[2:])), x.rows)


def _transposed_windows(node: Node, old: Shape, kernel: Shape) -> Shape:
    count = len(old)
    strides, dilations = node.list("strides") or (1,) * count, node.list("dilations") or (1,) * count
    pads, more = node.list("pads") or (0,) * 2 * count, node.list("output_padding") or (0,) * count
    if node.text("auto_pad", "NOTSET") != "NOTSET" or node.list("output_shape") or len(kernel) != count:
        return tuple(fresh() for _ in old)
    new: list[Number] = []
    for axis, (size, window) in enumerate(zip(old, kernel, strict=True)):
        if isinstance(size, int) and isinstance(window, int):
            cut = pads[axis] + pads[axis + count]
            new.append(strides[axis] * (size - 1) + more[axis] + (window - 1) * dilations[axis] + 1 - cut)
        else:
            new.append(fresh())
    return tuple(new)


@rule("DeformConv")
def deformable_convolution(node: Node, inputs: Inputs) -> Value:
    x, weights, offset, mask = needed(inputs, 0), needed(inputs, 1), needed(inputs, 2), given(inputs, 4)
    free_of_rows([weights, given(inputs, 3)])
    rows = rows_first(present([x, offset, mask]))
    first = rows.size if rows else shape_of(x)[0]
    return Value((first, shape_of(weights)[0], *shape_of(offset)[2:]), rows)


@rule("AveragePool LpPool MaxPool")
def pool(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis > 1:
        raise RowsMix("moves a window over the rows of the batch")
    shape = (*shape_of(x)[:2], *_windows(node, shape_of(x)[2:], node.list("kernel_shape")))
    kept = Value(shape, x.rows)
    if x.rows is None:
        return [kept, kept]
    return [kept, Mixed(f"{node.label} gives positions that count through the whole batch")]


@rule("GlobalAveragePool GlobalLpPool GlobalMaxPool")
def global_pool(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis > 1:
        raise RowsMix("reduces over the rows of the batch")
    return Value((*shape_of(x)[:2], *(1 for _ in shape_of(x)[2:])), x.rows)


@rule("MaxUnpool")
def max_unpool(node: Node, inputs: Inputs) -> Value:
    raise RowsMix("takes positions that count through the whole batch")


@rule("MaxRoiPool RoiAlign")
@rule("CropAndResize", domain=MICROSOFT)
def regions(node: Node, inputs: Inputs) -> Value:
    x, boxes = needed(inputs, 0), needed(inputs, 1)
    if x.rows is not None:
        raise RowsMix("picks images by their place in the batch")
    rows = rows_first(present([boxes, given(inputs, 2) if node.operator != "MaxRoiPool" else None]))
    return Value((shape_of(boxes)[0], *(fresh() for _ in range(3))), rows)


@rule("GridSample")
@rule("GridSample", domain=MICROSOFT)
def grid_sample(node: Node, inputs: Inputs) -> Value:
    x, grid = needed(inputs, 0), needed(inputs, 1)
    rows = rows_first([x, grid])
    first = rows.size if rows else shape_of(x)[0]
    return Value((first, shape_of(x)[1], *shape_of(grid)[1:-1]), rows)


@rule("AffineGrid", shapes=(1,))
def affine_grid(node: Node, inputs: Inputs) -> Value:
    theta, target = needed(inputs, 0), numbers_of(inputs, 1) or ()
    rows = rows_first([theta])
    if rows is not None and sizes.equal(target[0], rows.size) is not True:
        raise NotUnderstood("makes a grid for another number of rows")
    return Value((target[0], *target[2:], len(target) - 2), rows)


@rule("Resize Upsample", shapes=(1, 2, 3))
def resize(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    old, roi = shape_of(x), None
    if node.operator == "Upsample" or node.opset < 11:
        scales = node.attributes.get("scales") or numbers_of(inputs, 1)
        target = None
    else:
        scales, target = numbers_of(inputs, 2), numbers_of(inputs, 3)
        roi = given(inputs, 1) if "crop" in node.text("coordinate_transformation_mode") else None
    axes = [axis_of(axis, len(old)) for axis in node.list("axes") or range(len(old))]
    if not scales and not target:
        raise NotUnderstood("says neither a size nor a scale")
    if roi is not None:
        raise NotUnderstood("cuts a region out in a way that is not followed")
    keeps_aspect = node.text("keep_aspect_ratio_policy", "stretch") != "stretch"
    shape = list(old)
    for index, axis in enumerate(axes):
        ours = x.rows is not None and axis == x.rows.axis
        # Of two or three axes all are interpolated: a neighbour counts 0 times, and 0 times NaN is NaN.
        inner = axis > 1 or len(old) < 4
        if ours and (keeps_aspect or (inner and node.text("mode", "nearest") != "nearest")):
            raise NotUnderstood("may interpolate along the rows of the batch")
        if target:
            shape[axis] = fresh() if keeps_aspect else target[index]
        elif scales:
            shape[axis] = _scaled(old[axis], scales[index])
        if ours and sizes.equal(shape[axis], old[axis]) is not True:
            raise RowsMix("resizes along the rows of the batch")
    return Value(tuple(shape), x.rows)


def _scaled(size: Number, scale: Number) -> Number:
    if scale == 1:
        return size
    if isinstance(scale, float) and scale.is_integer():
        return sizes.multiply(size, int(scale))
    if isinstance(size, int) and isinstance(scale, int | float) and abs(size * scale - round(size * scale)) > 0.001:
        return int(size * scale)
    return fresh()  # also where the runtime's rounding decides


@rule("DepthToSpace SpaceToDepth")
def blocks(node: Node, inputs: Inputs) -> Value:
    x, block = needed(inputs, 0), node.whole("blocksize", 1)
    _first_axis_only(x)
    first, channels, *others = shape_of(x)
    if node.operator == "DepthToSpace":
        new = [sizes.divide(channels, block * block), *(sizes.multiply(one, block) for one in others)]
    else:
        new = [sizes.multiply(channels, block * block), *(sizes.divide(one, block) for one in others)]
    return Value((first, *new), x.rows)


@rule("LRN")
def local_response(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis == 1:
        raise RowsMix("normalises over the rows of the batch")
    return Value(shape_of(x), x.rows)


@rule("Col2Im")
def column_to_image(node: Node, inputs: Inputs) -> Value:
    image = needed(inputs, 1)
    free_of_rows(inputs[1:])
    count = shape_of(image)[0]
    if not isinstance(count, int):
        raise NotUnderstood("makes images of unknown rank")
    return _first_axis_only(needed(inputs, 0), count + 2)


@rule("BatchNormalization")
def batch_normalization(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    free_of_rows(inputs[1:])
    if x.rows is not None and (node.whole("training_mode") or (node.opset < 14 and node.outputs > 1)):
        raise RowsMix("is in training, so it normalises over the rows of the batch")
    if x.rows is not None and x.rows.axis == 1:
        raise RowsMix("scales each row by its place in the batch")
    return [Value(shape_of(x), x.rows)]


@rule("InstanceNormalization GroupNormalization")
@rule("GroupNorm", domain=MICROSOFT)
def instance_normalization(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:])
    x = needed(inputs, 0)
    _first_axis_only(x)
    return Value(shape_of(x), x.rows)


@rule("DFT", shapes=(1, 2))
def fourier_transform(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    rank = rank_of(x)
    along: Number = node.whole("axis", 1) if node.opset < 20 else (numbers_of(inputs, 2) or (-2,))[0]
    axis = axis_of(along, rank)
    if x.rows is not None and x.rows.axis in (axis, rank - 1):
        raise RowsMix("transforms along the rows of the batch")
    return Value(tuple(fresh() if at in (axis, rank - 1) else one for at, one in enumerate(shape_of(x))), x.rows)


@rule("STFT")
def short_time_fourier_transform(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:])
    return _first_axis_only(needed(inputs, 0), 4)
