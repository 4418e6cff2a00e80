import * as tf from '@tensorflow/tfjs';
import { size, type DreamBackend } from '../dream-backend.js';
import { isFloat, type Attributes, type Kernel, type KernelTable } from './table.js';

type Shape4 = [number, number, number, number];

interface Geometry {
  outShape: Shape4;
  /** As conv_sizes in native/conv.h reads them. */
  numbers: number[];
}

function geometry(x: readonly number[], filter: readonly number[], stride: number, [top, bottom, left, right]: readonly number[]): Geometry {
  const [images, height, width, channels] = x;
  const [kh, kw, , out] = filter;
  const outHeight = Math.floor((height + top + bottom - kh) / stride) + 1;
  const outWidth = Math.floor((width + left + right - kw) / stride) + 1;
  if (outHeight < 0 || outWidth < 0) throw new Error(`conv2d: expected an image at least as large as the filter, found [${x}] with padding [${[top, bottom, left, right]}] and a ${kh} x ${kw} filter.`);
  return { outShape: [images, outHeight, outWidth, out], numbers: [images, height, width, channels, outHeight, outWidth, out, kh, kw, stride, top, left] };
}

/** The same for a stock convolution, or undefined where it has dilations, unequal strides or another data format. */
function stockGeometry(x: readonly number[], filter: readonly number[], { strides, pad, dilations = [1, 1], dimRoundingMode, dataFormat = 'NHWC' }: Attributes): Geometry | undefined {
  if (dataFormat !== 'NHWC') return undefined;
  const info = tf.backend_util.computeConv2DInfo(x as Shape4, filter as Shape4, strides, dilations, pad, dimRoundingMode, false);
  if (info.dilationHeight !== 1 || info.dilationWidth !== 1 || info.strideHeight !== info.strideWidth || info.inChannels !== filter[2]) return undefined;
  const { top, left } = info.padInfo;
  const numbers = [info.batchSize, info.inHeight, info.inWidth, info.inChannels, info.outHeight, info.outWidth, info.outChannels, info.filterHeight, info.filterWidth, info.strideHeight, top, left];
  return { outShape: info.outShape as Shape4, numbers };
}

function forward(backend: DreamBackend, x: tf.TensorInfo, filter: tf.TensorInfo, bias: tf.TensorInfo | undefined, { outShape, numbers }: Geometry, residual?: tf.TensorInfo): tf.TensorInfo {
  const y = backend.output(outShape);
  const optional = [bias, residual].map((tensor) => (tensor ? backend.floats(tensor) : null));
  backend.run('conv', [backend.floats(x), backend.floats(filter), backend.floats(y), ...optional], numbers);
  return y;
}

function gradInput(backend: DreamBackend, dy: tf.TensorInfo, filter: tf.TensorInfo, inputShape: number[], { numbers }: Geometry, soFar?: tf.TensorInfo): tf.TensorInfo {
  const dx = backend.output(inputShape);
  backend.run('conv_grad_input', [backend.floats(dy), backend.floats(filter), backend.floats(dx), soFar ? backend.floats(soFar) : null], numbers);
  return dx;
}

function gradFilter(backend: DreamBackend, x: tf.TensorInfo, dy: tf.TensorInfo, filterShape: number[], { numbers }: Geometry): tf.TensorInfo {
  const dfilter = backend.output(filterShape);
  backend.run('conv_grad_filter', [backend.floats(x), backend.floats(dy), backend.floats(dfilter)], numbers);
  return dfilter;
}

const upsampleNumbers = ([images, height, width, channels]: readonly number[], outHeight: number, outWidth: number) => [images, height, width, channels, outHeight, outWidth];

function upsample(backend: DreamBackend, x: tf.TensorInfo, height: number, width: number): tf.TensorInfo {
  const y = backend.output([x.shape[0], height, width, x.shape[3]]);
  backend.run('upsample', [backend.floats(x), backend.floats(y)], upsampleNumbers(x.shape, height, width));
  return y;
}

function upsampleGrad(backend: DreamBackend, dy: tf.TensorInfo, inputShape: number[]): tf.TensorInfo {
  const dx = backend.output(inputShape);
  backend.run('upsample_grad', [backend.floats(dy), backend.floats(dx)], upsampleNumbers(inputShape, dy.shape[1], dy.shape[2]));
  return dx;
}

const pooling = (mean: boolean): Kernel => (backend, { x }, { filterSize, strides, pad, dimRoundingMode }) => {
  if (!isFloat(x)) return undefined;
  const info = tf.backend_util.computePool2DInfo(x.shape as Shape4, filterSize, strides, 1, pad, dimRoundingMode);
  const { top, left } = info.padInfo;
  const y = backend.output(info.outShape);
  const numbers = [info.batchSize, info.inHeight, info.inWidth, info.inChannels, info.outHeight, info.outWidth, info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth, top, left, +mean];
  backend.run('pool', [backend.floats(x), backend.floats(y)], numbers);
  return y;
};

export const convKernels: KernelTable = {
  Conv2D: (backend, { x, filter }, attributes) => {
    const found = isFloat(x, filter) ? stockGeometry(x.shape, filter.shape, attributes) : undefined;
    return found && forward(backend, x, filter, undefined, found);
  },
  Conv2DBackpropInput: (backend, { dy, filter }, attributes) => {
    const found = isFloat(dy, filter) ? stockGeometry(attributes.inputShape, filter.shape, attributes) : undefined;
    return found && gradInput(backend, dy, filter, attributes.inputShape, found);
  },
  Conv2DBackpropFilter: (backend, { x, dy }, attributes) => {
    const found = isFloat(x, dy) ? stockGeometry(x.shape, attributes.filterShape, attributes) : undefined;
    return found && gradFilter(backend, x, dy, attributes.filterShape, found);
  },

  DreamConv2D: (backend, { x, filter, bias, residual }, { stride, padding }) => forward(backend, x, filter, bias, geometry(x.shape, filter.shape, stride, padding), residual),
  DreamConv2DGradInput: (backend, { dy, filter, soFar }, { stride, padding, inputShape }) =>
    gradInput(backend, dy, filter, inputShape, geometry(inputShape, filter.shape, stride, padding), soFar),
  DreamConv2DGradFilter: (backend, { x, dy }, { stride, padding, filterShape }) =>
    gradFilter(backend, x, dy, filterShape, geometry(x.shape, filterShape, stride, padding)),

  DreamUpsample: (backend, { x }, { height, width }) => upsample(backend, x, height, width),
  DreamUpsampleGrad: (backend, { dy }, { inputShape }) => upsampleGrad(backend, dy, inputShape),

  MaxPool: pooling(false),
  AvgPool: pooling(true),

  ResizeBilinear: (backend, { images }, { alignCorners, halfPixelCenters, size: [height, width] }) => {
    if (!isFloat(images) || size(images.shape) === 0) return undefined;
    const [count, fromHeight, fromWidth, channels] = images.shape;
    const scale = (from: number, to: number) => (alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to);
    const y = backend.output([count, height, width, channels]);
    const numbers = [...upsampleNumbers(images.shape, height, width), scale(fromHeight, height), scale(fromWidth, width), +halfPixelCenters];
    backend.run('resize_bilinear', [backend.floats(images), backend.floats(y)], numbers);
    return y;
  },

  // The plain cpu backend's gradient is wrong for more than one image.
  ResizeNearestNeighbor: (backend, { images }, { alignCorners, halfPixelCenters, size: [height, width] }) =>
    isFloat(images) && !alignCorners && !halfPixelCenters && size(images.shape) > 0 ? upsample(backend, images, height, width) : undefined,
  ResizeNearestNeighborGrad: (backend, { images, dy }, { alignCorners, halfPixelCenters }) =>
    isFloat(images, dy) && !alignCorners && !halfPixelCenters ? upsampleGrad(backend, dy, images.shape) : undefined,
};
