import { readFileSync } from 'node:fs';
import type { BpeVocabulary } from './llama.js';

/**
 * Reads the vocabulary of a SentencePiece `tokenizer.model` (sentencepiece_model.proto) of type BPE. The file lists pieces with scores; the merge
 * order follows from them: of all pairs of pieces that form a piece, the one with the best score is merged first; LLaMA's runs of spaces all have
 * the same, worst score, and go by the ids of the pair.
 */
export function readSentencePiece(file: string): BpeVocabulary {
  const pieces: { text: string; score: number }[] = [];
  let modelType = 1; // the proto's default, unigram
  for (const { field, bytes } of protobufFields(readFileSync(file), file)) {
    if (field === 1 && bytes) pieces.push(readPiece(bytes, file));
    if (field === 2 && bytes) for (const trainer of protobufFields(bytes, file)) if (trainer.field === 3) modelType = trainer.value;
  }
  if (pieces.length === 0) throw new Error(`${file} holds no pieces, so it is no SentencePiece model.`);
  if (modelType !== 2) throw new Error(`${file} is a SentencePiece model of type ${modelType}; only BPE (2), as LLaMA has it, is read. Use its tokenizer.json.`);

  const ids = new Map(pieces.map(({ text }, id) => [text, id]));
  const merges: { left: string; right: string; score: number }[] = [];
  for (const { text, score } of pieces) {
    const characters = [...text];
    for (let i = 1; i < characters.length; i++) {
      const [left, right] = [characters.slice(0, i).join(''), characters.slice(i).join('')];
      if (ids.has(left) && ids.has(right)) merges.push({ left, right, score });
    }
  }
  merges.sort((a, b) => b.score - a.score || ids.get(a.left)! - ids.get(b.left)! || ids.get(a.right)! - ids.get(b.right)!);
  return { tokens: pieces.map(({ text }) => text), merges: merges.map(({ left, right }) => [left, right] as const) };
}

function readPiece(bytes: Buffer, file: string): { text: string; score: number } {
  const piece = { text: '', score: 0 };
  for (const { field, bytes: inner, value } of protobufFields(bytes, file)) {
    if (field === 1 && inner) piece.text = inner.toString('utf8');
    if (field === 2) piece.score = value;
  }
  return piece;
}

/** The fields of a protobuf message: text and messages as `bytes`, numbers as `value` (32-bit ones as float, which is what pieces have). */
function* protobufFields(message: Buffer, file: string): Generator<{ field: number; bytes?: Buffer; value: number }> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= message.length || scale > 2 ** 63) throw new Error(`${file} is damaged: a number runs past its end.`);
      const byte = message[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const take = (length: number) => {
    if (at + length > message.length) throw new Error(`${file} is damaged: a field of ${length} bytes runs past its end.`);
    return message.subarray(at, (at += length));
  };
  while (at < message.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case 0: yield { field, value: varint() }; break;
      case 1: yield { field, value: take(8).readDoubleLE() }; break;
      case 2: yield { field, bytes: take(varint()), value: 0 }; break;
      case 5: yield { field, value: take(4).readFloatLE() }; break;
      default: throw new Error(`${file} is damaged: wire type ${key % 8} at byte ${at}.`);
    }
  }
}
