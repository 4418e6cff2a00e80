import { constant, param, uniform, type Spec } from '../../core/params.js';

/** A convolution without bias, batch normalisation and ReLU: what Inception V3 is made of (Szegedy et al. 2016). */
export class Unit {
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly height: number,
    readonly width: number,
  ) {}
  get kernelShape(): [number, number, number, number] {
    return [this.height, this.width, this.inChannels, this.outChannels];
  }
}

/** A tree of units with every unit made into an `X`. */
export type OfUnits<T, X> = T extends Unit ? X : { [K in keyof T]: OfUnits<T[K], X> };

const unit = (inChannels: number, outChannels: number, height = 1, width = height) => new Unit(inChannels, outChannels, height, width);

const blockA = (channels: number, poolChannels: number) => ({
  branch1x1: unit(channels, 64),
  branch5x5_1: unit(channels, 48),
  branch5x5_2: unit(48, 64, 5),
  branch3x3dbl_1: unit(channels, 64),
  branch3x3dbl_2: unit(64, 96, 3),
  branch3x3dbl_3: unit(96, 96, 3),
  branch_pool: unit(channels, poolChannels),
});

const blockB = (channels: number) => ({
  branch3x3: unit(channels, 384, 3),
  branch3x3dbl_1: unit(channels, 64),
  branch3x3dbl_2: unit(64, 96, 3),
  branch3x3dbl_3: unit(96, 96, 3),
});

const blockC = (channels: number, inner: number) => ({
  branch1x1: unit(channels, 192),
  branch7x7_1: unit(channels, inner),
  branch7x7_2: unit(inner, inner, 1, 7),
  branch7x7_3: unit(inner, 192, 7, 1),
  branch7x7dbl_1: unit(channels, inner),
  branch7x7dbl_2: unit(inner, inner, 7, 1),
  branch7x7dbl_3: unit(inner, inner, 1, 7),
  branch7x7dbl_4: unit(inner, inner, 7, 1),
  branch7x7dbl_5: unit(inner, 192, 1, 7),
  branch_pool: unit(channels, 192),
});

const blockD = (channels: number) => ({
  branch3x3_1: unit(channels, 192),
  branch3x3_2: unit(192, 320, 3),
  branch7x7x3_1: unit(channels, 192),
  branch7x7x3_2: unit(192, 192, 1, 7),
  branch7x7x3_3: unit(192, 192, 7, 1),
  branch7x7x3_4: unit(192, 192, 3),
});

const blockE = (channels: number) => ({
  branch1x1: unit(channels, 320),
  branch3x3_1: unit(channels, 384),
  branch3x3_2a: unit(384, 384, 1, 3),
  branch3x3_2b: unit(384, 384, 3, 1),
  branch3x3dbl_1: unit(channels, 448),
  branch3x3dbl_2: unit(448, 384, 3),
  branch3x3dbl_3a: unit(384, 384, 1, 3),
  branch3x3dbl_3b: unit(384, 384, 3, 1),
  branch_pool: unit(channels, 192),
});

/** The first layers, under torchvision's names. Keras numbers the same convolutions 1 to 50 in this order and calls the last concatenation `mixed5`. */
export const trunkLayout = {
  Conv2d_1a_3x3: unit(3, 32, 3),
  Conv2d_2a_3x3: unit(32, 32, 3),
  Conv2d_2b_3x3: unit(32, 64, 3),
  Conv2d_3b_1x1: unit(64, 80),
  Conv2d_4a_3x3: unit(80, 192, 3),
  Mixed_5b: blockA(192, 32),
  Mixed_5c: blockA(256, 64),
  Mixed_5d: blockA(288, 64),
  Mixed_6a: blockB(288),
  Mixed_6b: blockC(768, 128),
  Mixed_6c: blockC(768, 160),
};

export const topLayout = {
  Mixed_6d: blockC(768, 160),
  Mixed_6e: blockC(768, 192),
  Mixed_7a: blockD(768),
  Mixed_7b: blockE(1280),
  Mixed_7c: blockE(2048),
};

/** The units of a layout by name, in declaration order. */
export function units(layout: object): Map<string, Unit> {
  const found = new Map<string, Unit>();
  const visit = (node: object, name: string) => {
    if (node instanceof Unit) found.set(name, node);
    else for (const [key, child] of Object.entries(node)) visit(child, name ? `${name}.${key}` : key);
  };
  visit(layout, '');
  return found;
}

/** Makes the tree of a layout, calling `make` for each unit. */
export function ofUnits<T extends object, X>(layout: T, make: (name: string, unit: Unit) => X, name = ''): OfUnits<T, X> {
  if (layout instanceof Unit) return make(name, layout) as OfUnits<T, X>;
  return Object.fromEntries(Object.entries(layout).map(([key, child]) => [key, ofUnits(child, make, name ? `${name}.${key}` : key)])) as OfUnits<T, X>;
}

const CLASSES = 1008;

/** The file `pt_inception-2015-12-05` of pytorch-fid: the network that FID is defined on, with its classifier, which FID does not use. */
export const fidInceptionSpec = (): Spec => ({
  ...ofUnits({ ...trunkLayout, ...topLayout }, (_, { kernelShape, inChannels, outChannels, height, width }) => ({
    conv: { weight: param(kernelShape, uniform(1 / Math.sqrt(inChannels * height * width)), 'conv') },
    bn: {
      weight: param([outChannels], constant(1)),
      bias: param([outChannels], constant(0)),
      running_mean: param([outChannels], constant(0)),
      running_var: param([outChannels], constant(1)),
    },
  })),
  fc: { weight: param([CLASSES, 2048], uniform(1 / Math.sqrt(2048))), bias: param([CLASSES], uniform(1 / Math.sqrt(2048))) },
});

/** Counters of PyTorch's batch normalisation, which some files hold. */
export const inceptionBuffers = /\.num_batches_tracked$/;
