import * as tf from '@tensorflow/tfjs';
import { activation, addRows, attention, conv2d, gatedSplit, groupNorm, layerNorm, linear, linears, upsampleNearest, valueAndGrads } from '../../core/ops/index.js';
import { flatten, normal, constant, initialize, param, type ParamSpec } from '../../core/params.js';
import { random } from '../../core/random.js';
import { training, type Workload } from './transformer.js';

const CHANNELS = [32, 64, 128];
const TIME = 128;
const GROUPS = 8;
const HEADS = 4;
const CONTEXT = { tokens: 16, dim: 256 };
const SIZE = 32;
const LATENT = 4;

/**
 * The reference U-Net for timing: 32 x 32 x 4 latents, channels 32, 64, 128, self- and cross-attention with gated MLPs at the lower two
 * resolutions. A recording of parameters by name replaces a spec, since nothing is ever loaded into it.
 */
class ReferenceUnet {
  readonly specs: Record<string, ParamSpec> = {};
  params: Record<string, tf.Variable> = {};
  /** Multiplications and additions of the last forward pass. */
  flops = 0;

  constructor() {
    this.recording = true;
    tf.tidy(() => this.forward(tf.zeros([1, SIZE, SIZE, LATENT]), tf.zeros([1, CHANNELS[0]]), tf.zeros([1, CONTEXT.tokens, CONTEXT.dim])));
    this.recording = false;
    this.params = initialize(this.specs, 0);
  }

  private recording: boolean;

  private get(name: string, shape: number[], std: number): tf.Tensor {
    if (!this.recording) return this.params[name];
    this.specs[name] = param(shape, std === 0 || std === 1 ? constant(std) : normal(std));
    return tf.zeros(shape);
  }

  private conv(name: string, x: tf.Tensor4D, out: number, kernel = 3, stride = 1, residual?: tf.Tensor4D): tf.Tensor4D {
    const inputs = x.shape[3];
    const pad = kernel === 3 ? 1 : 0;
    const y = conv2d(x, this.get(`${name}.w`, [kernel, kernel, inputs, out], (kernel * kernel * inputs) ** -0.5), this.get(`${name}.b`, [out], 0), { stride, padding: [pad, pad, pad, pad], residual });
    this.flops += 2 * y.size * kernel * kernel * inputs;
    return y;
  }

  private lin<T extends tf.Tensor>(name: string, x: T, out: number, residual?: T): T {
    const inputs = x.shape[x.rank - 1];
    const y = linear(x, this.get(`${name}.w`, [out, inputs], inputs ** -0.5), this.get(`${name}.b`, [out], 0), residual);
    this.flops += 2 * y.size * inputs;
    return y;
  }

  private group(name: string, x: tf.Tensor4D, silu: boolean): tf.Tensor4D {
    return groupNorm(x, this.get(`${name}.g`, [x.shape[3]], 1), this.get(`${name}.b`, [x.shape[3]], 0), GROUPS, 1e-5, silu);
  }

  private layer(name: string, x: tf.Tensor3D): tf.Tensor3D {
    return layerNorm(x, this.get(`${name}.g`, [x.shape[2]], 1), this.get(`${name}.b`, [x.shape[2]], 0), 1e-5);
  }

  private residual(name: string, x: tf.Tensor4D, time: tf.Tensor2D, out: number): tf.Tensor4D {
    const h = addRows(this.conv(`${name}.c1`, this.group(`${name}.n1`, x, true), out), this.lin(`${name}.t`, time, out));
    return this.conv(`${name}.c2`, this.group(`${name}.n2`, h, true), out, 3, 1, x.shape[3] === out ? x : this.conv(`${name}.s`, x, out, 1));
  }

  /** Several projections of one input, without bias. */
  private projections(names: readonly string[], x: tf.Tensor3D, out: number): tf.Tensor3D[] {
    const inputs = x.shape[2];
    this.flops += 2 * names.length * (x.size / inputs) * out * inputs;
    return linears(x, names.map((name) => ({ weight: this.get(`${name}.w`, [out, inputs], inputs ** -0.5) })));
  }

  private mix(name: string, x: tf.Tensor3D, context: tf.Tensor3D, residual: tf.Tensor3D): tf.Tensor3D {
    const dim = x.shape[2];
    const named = (kinds: string) => [...kinds].map((kind) => name + kind);
    const [q, k, v] = x === context ? this.projections(named('qkv'), x, dim) : [...this.projections(named('q'), x, dim), ...this.projections(named('kv'), context, dim)];
    this.flops += 4 * q.size * k.shape[1];
    return this.lin(`${name}o`, attention(q, k, v, { numHeads: HEADS }), dim, residual);
  }

  private transformer(name: string, x: tf.Tensor4D, context: tf.Tensor3D): tf.Tensor4D {
    const [batch, height, width, dim] = x.shape;
    let y = this.conv(`${name}.pi`, this.group(`${name}.n`, x, false), dim, 1).reshape([batch, height * width, dim]) as tf.Tensor3D;
    const normed = this.layer(`${name}.l1`, y);
    y = this.mix(`${name}.s`, normed, normed, y);
    y = this.mix(`${name}.c`, this.layer(`${name}.l2`, y), context, y);
    y = this.lin(`${name}.f2`, gatedSplit(this.lin(`${name}.f1`, this.layer(`${name}.l3`, y), dim * 8), 'silu', 'value-gate'), dim, y);
    return this.conv(`${name}.po`, y.reshape([batch, height, width, dim]), dim, 1, 1, x);
  }

  forward(x: tf.Tensor4D, time: tf.Tensor2D, context: tf.Tensor3D): tf.Tensor4D {
    this.flops = 0;
    const embedded = activation(this.lin('t2', activation(this.lin('t1', time, TIME), 'silu'), TIME), 'silu');
    let h = this.conv('in', x, CHANNELS[0]);
    const skips = [h];
    CHANNELS.forEach((out, i) => {
      h = this.residual(`d${i}`, h, embedded, out);
      if (i > 0) h = this.transformer(`da${i}`, h, context);
      skips.push(h);
      if (i < CHANNELS.length - 1) skips.push((h = this.conv(`ds${i}`, h, out, 3, 2)));
    });
    const middle = CHANNELS[CHANNELS.length - 1];
    h = this.residual('m2', this.transformer('ma', this.residual('m1', h, embedded, middle), context), embedded, middle);
    for (let i = CHANNELS.length - 1; i >= 0; i--) {
      for (let j = 0; j < 2; j++) {
        h = this.residual(`u${i}${j}`, tf.concat([h, skips.pop()!], 3), embedded, CHANNELS[i]);
        if (i > 0 && j === 1) h = this.transformer(`ua${i}`, h, context);
      }
      if (i > 0) h = this.conv(`us${i}`, upsampleNearest(h, 2 * h.shape[1], 2 * h.shape[2]), CHANNELS[i]);
    }
    return this.conv('out', this.group('on', h, true), LATENT);
  }
}

const draw = (shape: number[], name: string) => tf.tensor(random(0, 'bench', name).normals(shape.reduce((a, b) => a * b, 1)), shape);

/** Training of the whole U-Net, or with `frozen` the gradient of its loss with respect to the conditioning alone. */
export function unetTraining(batch: number, frozen: boolean): Workload {
  const unet = new ReferenceUnet();
  const x = draw([batch, SIZE, SIZE, LATENT], 'x') as tf.Tensor4D;
  const noise = draw([batch, SIZE, SIZE, LATENT], 'noise');
  const time = draw([batch, CHANNELS[0]], 'time') as tf.Tensor2D;
  const context = draw([batch, CONTEXT.tokens, CONTEXT.dim], 'context') as tf.Tensor3D;
  const loss = () => unet.forward(x, time, context).sub(noise).square().mean() as tf.Scalar;
  const train = frozen ? undefined : training(flatten(unet.params), loss);
  tf.tidy(() => loss().dataSync());
  return {
    flops: (frozen ? 2 : 3) * unet.flops,
    step() {
      if (train) return train.step();
      const { value, grads } = valueAndGrads(loss, new Map([['context', context]]));
      value.dataSync();
      tf.dispose([value, ...grads.values()]);
    },
    dispose() {
      train?.dispose();
      tf.dispose([unet.params as never, x, noise, time, context]);
    },
  };
}

/** One guided denoising step of one image: both conditions as a batch of two, and the update of the latents. */
export function guidedSampling(steps: number): Workload {
  const unet = new ReferenceUnet();
  const context = draw([2, CONTEXT.tokens, CONTEXT.dim], 'context') as tf.Tensor3D;
  const time = draw([2, CHANNELS[0]], 'time') as tf.Tensor2D;
  return {
    flops: steps * 2 * unet.flops,
    step() {
      let x = draw([1, SIZE, SIZE, LATENT], 'x') as tf.Tensor4D;
      for (let i = 0; i < steps; i++) {
        const next = tf.tidy(() => {
          const [without, given] = tf.split(unet.forward(tf.concat([x, x], 0) as tf.Tensor4D, time, context), 2, 0);
          return x.sub(without.add(given.sub(without).mul(7.5)).mul(0.02)) as tf.Tensor4D;
        });
        x.dispose();
        x = next;
      }
      x.dataSync();
      x.dispose();
    },
    dispose: () => tf.dispose([unet.params as never, context, time]),
  };
}
