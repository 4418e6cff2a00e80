import * as tf from '@tensorflow/tfjs';
import { adding, asRows, defineGradient, defineKernel, run, shapeError } from './kernel.js';

/** Rows and columns of zeros added around an image: [top, bottom, left, right]. */
export type Padding = readonly [number, number, number, number];

export interface ConvOptions {
  stride?: number;
  padding?: Padding;
  residual?: tf.Tensor4D;
}

/**
 * Convolution. x [images, height, width, in], filter [kernelHeight, kernelWidth, in, out], bias [out], residual like the result, added to it
 * -> [images, ⌊(height + top + bottom − kernelHeight) / stride⌋ + 1, …, out].
 */
export function conv2d(x: tf.Tensor4D, filter: tf.Tensor, bias?: tf.Tensor, { stride = 1, padding = [0, 0, 0, 0], residual }: ConvOptions = {}): tf.Tensor4D {
  if (x.rank !== 4 || filter.rank !== 4 || x.shape[3] !== filter.shape[2] || (bias && (bias.rank !== 1 || bias.shape[0] !== filter.shape[3]))) {
    shapeError('conv2d', 'x [images, height, width, in], filter [kernelHeight, kernelWidth, in, out] and bias [out]', { x, filter, bias });
  }
  if (residual && !tf.util.arraysEqual(residual.shape, outputShape(x.shape, filter.shape, stride, padding))) {
    shapeError('conv2d', `a residual [${outputShape(x.shape, filter.shape, stride, padding).join(', ')}]`, { x, filter, residual });
  }
  return run('DreamConv2D', { x, filter, bias, residual }, { stride, padding }) as tf.Tensor4D;
}

const outputShape = ([images, height, width]: number[], [kh, kw, , out]: number[], stride: number, [top, bottom, left, right]: Padding): number[] => [
  images,
  Math.floor((height + top + bottom - kh) / stride) + 1,
  Math.floor((width + left + right - kw) / stride) + 1,
  out,
];

// Padded by hand: some backends convolve with 'valid' and 'same' only.
const pad = (x: tf.Tensor4D, [top, bottom, left, right]: Padding): tf.Tensor4D =>
  top || bottom || left || right ? x.pad([[0, 0], [top, bottom], [left, right], [0, 0]]) : x;

const paddedShape = ([images, height, width, channels]: number[], [top, bottom, left, right]: Padding): [number, number, number, number] => [
  images,
  height + top + bottom,
  width + left + right,
  channels,
];

const stock = (stride: number) => ({ strides: [stride, stride], pad: 'valid', dataFormat: 'NHWC', dilations: [1, 1], dimRoundingMode: null });

defineKernel('DreamConv2D', ({ x, filter, bias, residual }, { stride, padding }) => {
  const y: tf.Tensor = tf.conv2d(pad(x, padding), filter as tf.Tensor4D, stride, 'valid');
  const biased = bias ? y.add(bias) : y;
  return residual ? biased.add(residual) : biased;
});

defineGradient('DreamConv2D', { inputs: ['x', 'filter'] }, (dy, [x, filter], { stride, padding }) => ({
  x: adding((soFar) => run('DreamConv2DGradInput', { dy, filter, soFar }, { stride, padding, inputShape: x.shape }) as tf.Tensor),
  filter: () => run('DreamConv2DGradFilter', { x, dy }, { stride, padding, filterShape: filter.shape }) as tf.Tensor,
  bias: () => asRows(dy).sum(0),
  residual: () => dy.clone(),
}));

defineKernel('DreamConv2DGradInput', ({ dy, filter, soFar }, { stride, padding, inputShape }) => {
  const attributes = { ...stock(stride), inputShape: paddedShape(inputShape, padding) };
  const padded = tf.engine().runKernel('Conv2DBackpropInput', { dy, filter }, attributes as unknown as tf.NamedAttrMap) as tf.Tensor4D;
  const [top, , left] = padding;
  const dx = padded.slice([0, top, left, 0], inputShape);
  return soFar ? soFar.add(dx) : dx;
});

defineKernel('DreamConv2DGradFilter', ({ x, dy }, { stride, padding, filterShape }) => {
  const attributes = { ...stock(stride), filterShape };
  return tf.engine().runKernel('Conv2DBackpropFilter', { x: pad(x, padding), dy }, attributes as unknown as tf.NamedAttrMap) as tf.Tensor;
});

/** Nearest-neighbour enlargement: row i of the result is row ⌊i · from / to⌋. x [images, …, …, channels] -> [images, height, width, channels]. */
export function upsampleNearest(x: tf.Tensor4D, height: number, width: number): tf.Tensor4D {
  if (x.rank !== 4 || height < x.shape[1] || width < x.shape[2]) shapeError('upsampleNearest', `x [images, height up to ${height}, width up to ${width}, channels]`, { x });
  return run('DreamUpsample', { x }, { height, width }) as tf.Tensor4D;
}

/** For each of `to` positions the one of `from` it copies. */
const sources = (from: number, to: number) => Int32Array.from({ length: to }, (_, i) => Math.floor((i * from) / to));

defineKernel('DreamUpsample', ({ x }, { height, width }) =>
  tf.gather(tf.gather(x, tf.tensor1d(sources(x.shape[1], height), 'int32'), 1), tf.tensor1d(sources(x.shape[2], width), 'int32'), 2),
);

defineGradient('DreamUpsample', { inputs: ['x'] }, (dy, [x]) => ({
  x: () => run('DreamUpsampleGrad', { dy }, { inputShape: x.shape }) as tf.Tensor,
}));

// As two products with matrices of zeros and ones: the stock gradient of resizeNearestNeighbor is wrong on cpu for more than one image.
defineKernel('DreamUpsampleGrad', ({ dy }, { inputShape }) => {
  const [images, toHeight, toWidth, channels] = dy.shape;
  const [, height, width] = inputShape;
  const gather = (from: number, to: number) => tf.oneHot(tf.tensor1d(sources(from, to), 'int32'), from).transpose().toFloat().expandDims(0);
  const rows = tf.matMul(tile(gather(height, toHeight), images), dy.reshape([images, toHeight, toWidth * channels]));
  const columns = tf.matMul(tile(gather(width, toWidth), images * height), rows.reshape([images * height, toWidth, channels]));
  return columns.reshape(inputShape);
});

const tile = (matrix: tf.Tensor, count: number): tf.Tensor3D => matrix.tile([count, 1, 1]);

/** Adds one vector to every position of an image. x [images, height, width, channels], rows [images, channels] -> like x. */
export function addRows(x: tf.Tensor4D, rows: tf.Tensor2D): tf.Tensor4D {
  if (x.rank !== 4 || rows.rank !== 2 || rows.shape[0] !== x.shape[0] || rows.shape[1] !== x.shape[3]) {
    shapeError('addRows', 'x [images, height, width, channels] and rows [images, channels]', { x, rows });
  }
  return run('DreamAddRows', { x, rows }) as tf.Tensor4D;
}

defineKernel('DreamAddRows', ({ x, rows }) => x.add(rows.reshape([rows.shape[0], 1, 1, rows.shape[1]])));

defineGradient('DreamAddRows', {}, (dy) => ({
  x: () => dy.clone(),
  rows: () => positions(dy as tf.Tensor4D).sum(1),
}));

/** [images, height, width, channels] -> [images, positions, channels] */
const positions = (x: tf.Tensor4D) => x.reshape([x.shape[0], x.shape[1] * x.shape[2], x.shape[3]]);
