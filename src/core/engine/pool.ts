import type { Block, Engine, Values } from './engine.js';

/** What is taken from the engine at a time, in bytes, for the blocks below `LARGE` and for the others. Pages that nothing touched take no memory. */
const SMALL_PIECE = 4 * 2 ** 20;
const LARGE_PIECE = 64 * 2 ** 20;

/** Blocks of this size and more are cut to measure and join again. */
const LARGE = 16 * 2 ** 10;

/** Large blocks are multiples of it, so that what remains of a piece is of use. */
const PAGE = 4096;

/** A stretch of a piece of memory, in use or free, between its neighbours. */
interface Span extends Block {
  free: boolean;
  before?: Span;
  after?: Span;
}

/**
 * Reuses memory, since fresh memory costs page faults and training asks for the same sizes every step. Large blocks are cut from the smallest free stretch that
 * holds them, and freed neighbours join: batches of every length then share the same memory, where lists by size would keep some of each. Small
 * ones are kept by size. Blocks are not cleared and never given back to the engine.
 */
export class Pool {
  private readonly small = new Map<number, Block[]>();
  private rest: Block | undefined;
  /** Free stretches, the smallest first. */
  private readonly stretches: Span[] = [];
  /** Bytes taken from the engine, in use or not. */
  reserved = 0;
  /** Bytes in use. */
  used = 0;

  constructor(private readonly engine: Engine) {}

  take(bytes: number): Block {
    const block = bytes < LARGE ? this.takeSmall(sizeClass(bytes)) : this.takeLarge(Math.ceil(bytes / PAGE) * PAGE);
    this.used += block.bytes;
    return block;
  }

  give(block: Block): void {
    this.used -= block.bytes;
    if ('free' in block) this.join(block as Span);
    else this.small.get(block.bytes)!.push(block);
  }

  private takeSmall(bytes: number): Block {
    const list = this.small.get(bytes);
    const block = list?.pop();
    if (block) return block;
    if (!list) this.small.set(bytes, []);
    if (!this.rest || this.rest.bytes < bytes) this.rest = this.reserve(bytes, SMALL_PIECE);
    const { buffer, offset } = this.rest;
    this.rest = { buffer, offset: offset + bytes, bytes: this.rest.bytes - bytes };
    return { buffer, offset, bytes };
  }

  private takeLarge(bytes: number): Span {
    const position = this.position(bytes);
    const span: Span = position < this.stretches.length ? this.stretches.splice(position, 1)[0] : { ...this.reserve(bytes, LARGE_PIECE), free: true };
    span.free = false;
    const left = span.bytes - bytes;
    if (left > 0) {
      const remainder: Span = { buffer: span.buffer, offset: span.offset + bytes, bytes: left, free: true, before: span, after: span.after };
      if (span.after) span.after.before = remainder;
      span.after = remainder;
      span.bytes = bytes;
      this.keep(remainder);
    }
    return span;
  }

  /** Frees a stretch and joins it with free neighbours. */
  private join(span: Span): void {
    const { before, after } = span;
    let joined = span;
    if (after?.free) {
      this.drop(after);
      absorb(joined, after);
    }
    if (before?.free) {
      this.drop(before);
      absorb(before, joined);
      joined = before;
    }
    joined.free = true;
    this.keep(joined);
  }

  private keep(span: Span): void {
    this.stretches.splice(this.position(span.bytes), 0, span);
  }

  private drop(span: Span): void {
    this.stretches.splice(this.stretches.indexOf(span, this.position(span.bytes)), 1);
  }

  /** Where the stretches of at least `bytes` begin. */
  private position(bytes: number): number {
    let low = 0;
    let high = this.stretches.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.stretches[middle].bytes < bytes) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Bytes that may still be taken, of `system` that the system has: the engine's own limit, and what was given back. Pieces may not hold it in one. */
  room(system: number): number {
    return Math.min(this.engine.room?.() ?? Infinity, system) + this.reserved - this.used;
  }

  /** A piece of the engine's memory for `bytes`, of the usual size or what is left. */
  private reserve(bytes: number, piece: number): Block {
    const block = this.engine.allocate(Math.max(bytes, Math.min(piece, this.engine.room?.() ?? piece)));
    this.reserved += block.bytes;
    return block;
  }
}

/** Makes a stretch out of two neighbours; the second is no more. */
function absorb(span: Span, next: Span): void {
  span.bytes += next.bytes;
  span.after = next.after;
  if (next.after) next.after.before = span;
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
