import { closeSync, fstatSync, openSync } from 'node:fs';
import { elementSize, type TensorSource } from './safetensors.js';
import { lazySource, readBytes, Storage, unpickle, type Extent } from './torch-pickle.js';

/** The number that every such file begins with, as a pickle. */
const MAGIC = Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]);

/** Pickles are small, tensors follow them. */
const LONGEST_HEAD = 1 << 26;

export function isLegacyTorch(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    return fstatSync(fd).size > MAGIC.length && readBytes(fd, file, 0, MAGIC.length).equals(MAGIC);
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads checkpoints written by `torch.save` before PyTorch 1.6, such as pytorch-fid's: pickles of a magic number, a version, the machine's
 * sizes, the value and the keys of its storages; then each storage as its number of elements and the elements themselves.
 */
export function openLegacyTorchCheckpoint(file: string): TensorSource {
  const fd = openSync(file, 'r');
  try {
    const fileSize = fstatSync(fd).size;
    const head = readBytes(fd, file, 0, Math.min(fileSize, LONGEST_HEAD));
    let at = MAGIC.length;
    const storages = new Map<string, Storage>();
    const next = () => {
      const { value, end } = unpickle(head, file, at, (storage) => storages.set(storage.key, storage));
      at = end;
      return value;
    };
    const version = next();
    if (version !== 1001) throw new Error(`${file} is of torch protocol ${version}, expected 1001. Save it again with a current PyTorch.`);
    const machine = next();
    if (!(machine instanceof Map) || machine.get('little_endian') !== true) throw new Error(`${file} is big-endian. Save it again on a little-endian machine.`);
    const value = next();
    const keys = next();
    if (!Array.isArray(keys)) throw new Error(`${file} is damaged: expected a list of storages behind its value.`);

    const extents = new Map<string, Extent>();
    for (const key of keys) {
      const storage = storages.get(key as string);
      if (!storage) throw new Error(`${file} is damaged: nothing in it uses its storage "${key}".`);
      const count = Number(readBytes(fd, file, at, 8).readBigInt64LE());
      const size = count * elementSize(storage.dtype);
      if (count < 0 || at + 8 + size > fileSize) throw new Error(`${file} is damaged: its storage "${key}" reaches beyond its end.`);
      extents.set(storage.key, { start: at + 8, size });
      at += 8 + size;
    }
    return lazySource(fd, file, value, (key) => extents.get(key));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
