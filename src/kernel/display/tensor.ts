import { escapeHtml } from './html.js';
import { type Bundle } from './bundle.js';

/** What is read of a TensorFlow.js tensor. */
interface Tensor {
  shape: number[];
  dtype: string;
  size: number;
  isDisposed: boolean;
  data(): Promise<ArrayLike<number | string>>;
}

export function isTensor(value: object): value is Tensor {
  const { shape, dtype, dataSync, data } = value as { shape?: unknown; dtype?: unknown; dataSync?: unknown; data?: unknown };
  return Array.isArray(shape) && typeof dtype === 'string' && typeof dataSync === 'function' && typeof data === 'function';
}

const shownValues = 12;

/** Shape, dtype and statistics of a tensor, with its first values. Values that are not finite are counted apart. */
export async function describeTensor(tensor: Tensor): Promise<Bundle> {
  const title = `Tensor ${tensor.dtype} [${tensor.shape.join(', ')}]`;
  if (tensor.isDisposed) return { 'text/plain': `${title} (disposed)` };
  const values = Array.from(await tensor.data());
  const first = values.slice(0, shownValues).map(short).join(', ') + (values.length > shownValues ? ', …' : '');
  const rows = tensor.dtype === 'string' ? [] : statistics(values as number[]);
  const text = [title, ...(rows.length > 0 ? [rows.map(([name, value]) => `${name} ${value}`).join('  ')] : []), `values ${first}`].join('\n');
  const cells = [...rows, ['values', first]].map(([name, value]) => `<tr><th style="text-align:left">${name}</th><td style="text-align:left">${escapeHtml(value)}</td></tr>`);
  return { 'text/html': `<table>\n<caption>${escapeHtml(title)}</caption>\n${cells.join('\n')}\n</table>`, 'text/plain': text };
}

function statistics(values: number[]): [string, string][] {
  const finite = values.filter(Number.isFinite);
  const notFinite = values.length - finite.length;
  const rows: [string, string][] = [];
  if (finite.length > 0) {
    const mean = finite.reduce((sum, value) => sum + value, 0) / finite.length;
    const variance = finite.reduce((sum, value) => sum + (value - mean) ** 2, 0) / finite.length;
    const min = finite.reduce((a, b) => Math.min(a, b));
    const max = finite.reduce((a, b) => Math.max(a, b));
    rows.push(['min', short(min)], ['max', short(max)], ['mean', short(mean)], ['std', short(Math.sqrt(variance))]);
  }
  if (notFinite > 0) rows.push(['not finite', String(notFinite)]);
  return rows;
}

const short = (value: unknown) => (typeof value === 'number' ? String(Number(value.toPrecision(4))) : JSON.stringify(value));
