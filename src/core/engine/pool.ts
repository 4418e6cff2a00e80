import type { Block, Engine, Values } from './engine.js';

/**
 * Reuses memory by size class, since fresh memory costs page faults and training asks for the same sizes every step. Blocks are not
 * cleared and never given back to the engine.
 */
export class Pool {
  private readonly free = new Map<number, Block[]>();
  /** Bytes taken from the engine, in use or not. */
  reserved = 0;
  /** Bytes in use. */
  used = 0;

  constructor(private readonly engine: Engine) {}

  take(bytes: number): Block {
    const size = sizeClass(bytes);
    // Batches of other lengths ask for slightly other sizes: a free block that is a little too large beats fresh memory.
    for (let fits = size, tried = 0; tried < 3; fits = sizeClass(fits + 1), tried++) {
      const block = this.free.get(fits)?.pop();
      if (!block) continue;
      this.used += block.bytes;
      return block;
    }
    const fresh = this.engine.allocate(size);
    this.used += size;
    this.reserved += size;
    return fresh;
  }

  give(block: Block): void {
    this.used -= block.bytes;
    const list = this.free.get(block.bytes);
    if (list) list.push(block);
    else this.free.set(block.bytes, [block]);
  }
}

/** At least `bytes`, in steps of an eighth to a quarter of the size. */
function sizeClass(bytes: number): number {
  if (bytes <= 64) return 64;
  const step = Math.max(64, 2 ** (Math.floor(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}

export function view(block: Block, dtype: string, count: number): Values {
  if (dtype === 'float32') return new Float32Array(block.buffer, block.offset, count);
  if (dtype === 'int32') return new Int32Array(block.buffer, block.offset, count);
  return new Uint8Array(block.buffer, block.offset, count);
}
