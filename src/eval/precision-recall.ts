import { checkComparable, type Features } from './features.js';
import { forEachProduct } from './kernel-distance.js';

/**
 * Improved precision and recall (Kynkäänniemi et al. 2019): a picture is realistic when it lies within the ball of some real picture that
 * reaches to that picture's k-th nearest real neighbour; recall is the same with the sides exchanged.
 */
export function precisionRecall(real: Features, fake: Features, k = 3): { precision: number; recall: number } {
  checkComparable(real, fake);
  for (const { name, n } of [real, fake]) if (n <= k) throw new Error(`${name}: the ${k}-th neighbour needs more than ${k} rows, found ${n}.`);
  const [radiiReal, radiiFake] = [neighbourRadii(real, k), neighbourRadii(fake, k)];
  const realistic = new Uint8Array(fake.n);
  const covered = new Uint8Array(real.n);
  forEachProduct(real, fake, (distance, i, j) => {
    if (distance <= radiiReal[i]) realistic[j] = 1;
    if (distance <= radiiFake[j]) covered[i] = 1;
  }, squaredDistance);
  const share = (flags: Uint8Array) => flags.reduce((a, b) => a + b, 0) / flags.length;
  return { precision: share(realistic), recall: share(covered) };
}

const squaredDistance = (product: number, squaredX: number, squaredY: number) => Math.max(0, squaredX + squaredY - 2 * product);

/** Squared distance of each row to its k-th nearest other row. */
function neighbourRadii(side: Features, k: number): Float64Array {
  // [n, k] ascending in each row.
  const nearest = new Float64Array(side.n * k).fill(Infinity);
  forEachProduct(side, side, (distance, i, j) => {
    if (i === j || distance >= nearest[i * k + k - 1]) return;
    let at = i * k + k - 1;
    while (at > i * k && nearest[at - 1] > distance) {
      nearest[at] = nearest[at - 1];
      at--;
    }
    nearest[at] = distance;
  }, squaredDistance);
  return Float64Array.from({ length: side.n }, (_, i) => nearest[i * k + k - 1]);
}
