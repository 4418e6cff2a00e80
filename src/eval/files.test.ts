import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { captionPairs, readCaptions, readMmbench, readMmbenchPredictions, readPope, readVqa, withRotations } from './benchmark-files.js';
import { readNpy } from './npy.js';
import { pictureFiles } from './reference.js';
import { readRows } from './records.js';

const folder = mkdtempSync(join(tmpdir(), 'files-'));
const write = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

const npy = (header: string, data: Uint8Array) => Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from(Uint16Array.of(header.length).buffer), Buffer.from(header), data]);
const float32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

describe('NumPy files', () => {
  test('are read in float32, float64 and float16', () => {
    assert.deepEqual(readNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", float32(1, 2)), 'a').values, Float32Array.of(1, 2));
    assert.deepEqual(readNpy(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n", new Uint8Array(Float64Array.of(0.1, 2).buffer)), 'a').values, Float64Array.of(0.1, 2));
    assert.deepEqual(readNpy(npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }\n", new Uint8Array(Uint16Array.of(0x3c00).buffer)), 'a').values, Float32Array.of(1));
  });

  test('that are cut short, transposed or of objects are refused by name', () => {
    assert.throws(() => readNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", float32(1, 2, 3)), 'cut.npy'), /cut\.npy: shape \[2, 2\] needs 4 values, found 3/);
    assert.throws(() => readNpy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }\n", float32(1, 2)), 'f.npy'), /Fortran order/);
    assert.throws(() => readNpy(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", float32(1)), 'o.npy'), /found dtype \|O/);
    assert.throws(() => readNpy(Buffer.from('PNG'), 'x.npy'), /x\.npy: not a \.npy file/);
  });
});

describe('rows of files', () => {
  test('keep newlines and quotes of a TSV cell', () => {
    const [row] = readRows(write('q.tsv', 'index\tquestion\n1\t"two\nlines with ""quotes"""\n'));
    assert.equal(row.fields.question, 'two\nlines with "quotes"');
  });

  test('are refused by their place', () => {
    assert.throws(() => readRows(write('a.jsonl', '{"a": 1}\n{"a":\n')), /a\.jsonl, line 2: not JSON/);
    assert.throws(() => readRows(write('b.json', '[1]')), /b\.json, entry 0: expected an object/);
    assert.throws(() => readRows(write('c.tsv', 'index\tprediction\n1\ta\tb\n')), /c\.tsv, row 1/);
    assert.throws(() => readRows(write('d.tsv', ' \n')), /d\.tsv is empty/);
    assert.throws(() => readRows(write('e.tsv', 'index\tprediction\n')), /no rows/);
  });
});

describe('benchmark files', () => {
  const questions = write('m.tsv', 'index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tL2-category\n4\tWhat?\tlook\tcat\tdog\tcow\t\tC\tocr\tcoarse_perception\n');

  test('of MMBench keep empty options out and grow their rotations', () => {
    const rows = readMmbench(questions);
    assert.deepEqual(rows[0].options, { A: 'cat', B: 'dog', C: 'cow' });
    assert.equal(rows[0].l2Category, 'coarse_perception');
    assert.deepEqual(withRotations(rows).map(({ index, answer }) => [index, answer]), [[4, 'C'], [1000004, 'A'], [2000004, 'B']]);
  });

  test('of predictions refuse a doubled or odd index', () => {
    assert.throws(() => readMmbenchPredictions(write('p1.tsv', 'index\tprediction\n1\tA\n1\tB\n')), /row 2: "1" was already given in .*row 1/);
    assert.throws(() => readMmbenchPredictions(write('p2.tsv', 'index\tprediction\nx\tA\n')), /whole number in "index", found "x"/);
    assert.equal(readMmbenchPredictions(write('p3.tsv', 'index\tprediction\n7\t\n')).get(7), '');
  });

  test('of captions take all three forms and refuse two candidates', () => {
    assert.deepEqual(readCaptions(write('c1.json', '{"3": ["a", "b"]}')), new Map([['3', ['a', 'b']]]));
    const references = write('c2.json', '{"annotations": [{"image_id": 3, "caption": "A cat."}]}');
    assert.deepEqual(captionPairs(references, write('c3.json', '[{"image_id": 3, "caption": "a cat"}]'), 'ptb'), [{ id: '3', candidate: ['a', 'cat'], references: [['a', 'cat']] }]);
    assert.throws(() => captionPairs(references, write('c4.json', '[{"image_id": 3, "caption": "x"}, {"image_id": 3, "caption": "y"}]'), 'ptb'), /image "3" has 2 candidates/);
    assert.throws(() => captionPairs(references, write('c5.json', '[{"image_id": 9, "caption": "x"}]'), 'ptb'), /lacks 1 of 1 images, first "3"/);
  });

  test('of VQA and POPE name what is wrong', () => {
    const annotations = write('v.json', '{"annotations": [{"question_id": 1, "answers": [{"answer": 3}]}]}');
    assert.throws(() => readVqa(annotations, write('v1.jsonl', '{"question_id": 1, "answer": "x"}')), /annotation 0: expected an answer in words/);
    const asked = write('o.jsonl', '{"question_id": 1, "label": "maybe"}');
    assert.throws(() => readPope(asked, write('o1.jsonl', '{"question_id": 1, "answer": "yes"}')), /expected the label yes or no, found "maybe"/);
    assert.throws(() => readPope(asked, write('o2.jsonl', '{"answer": "yes"}\n{"answer": "no"}')), /2 answers without question_id for 1 questions/);
  });
});

test('a folder without pictures is refused, and what is no picture is told apart', () => {
  assert.throws(() => pictureFiles(folder), /expected pictures/);
  write('a.png', '');
  const { files, others } = pictureFiles(folder);
  assert.deepEqual(files, [join(folder, 'a.png')]);
  assert.ok(others.includes('q.tsv'));
});
