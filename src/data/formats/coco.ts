import { readFileSync, writeFileSync } from 'node:fs';
import type { ImageRef } from '../types.js';
import type { Scene } from '../scenes.js';
import { Checker, Intake, type ResolvePicture } from './intake.js';

/** A COCO picture with its captions and, where the file has them, its objects. */
export interface CocoImage {
  id: number;
  image: ImageRef;
  width: number;
  height: number;
  captions: string[];
  objects: { category: string; bbox: [x: number, y: number, width: number, height: number] }[];
}

/**
 * A COCO file of captions or of instances: `{ images, annotations, categories? }`. An annotation or picture that is wrong is a malformed record of
 * its own; its place is named by its position in the list.
 */
export function readCoco(file: string, resolve: ResolvePicture, intake = new Intake()): CocoImage[] {
  const whole = new Checker({ file });
  const root = whole.object(whole.json(readFileSync(file, 'utf8')), 'file');
  const byId = new Map<number, CocoImage>();
  whole.list(root.images, 'images').forEach((value, i) =>
    intake.take(() => {
      const check = new Checker({ file, member: `images[${i}]` });
      const { id, file_name, width, height } = check.object(value, 'image');
      const key = check.number(id, 'id');
      if (byId.has(key)) check.fail(`id ${key} is given twice`);
      const image = resolve(check.text(file_name, 'file_name')) ?? check.fail(`picture ${JSON.stringify(file_name)} is missing`);
      byId.set(key, { id: key, image, width: check.number(width, 'width'), height: check.number(height, 'height'), captions: [], objects: [] });
    }),
  );
  const categories = new Map<number, string>();
  for (const [i, value] of (root.categories === undefined ? [] : whole.list(root.categories, 'categories')).entries()) {
    const check = new Checker({ file, member: `categories[${i}]` });
    const { id, name } = check.object(value, 'category');
    categories.set(check.number(id, 'id'), check.text(name, 'name'));
  }
  whole.list(root.annotations, 'annotations').forEach((value, i) =>
    intake.take(() => {
      const check = new Checker({ file, member: `annotations[${i}]` });
      const annotation = check.object(value, 'annotation');
      const image = byId.get(check.number(annotation.image_id, 'image_id')) ?? check.fail(`image_id ${annotation.image_id} is not among the pictures`);
      if (annotation.caption !== undefined) image.captions.push(check.text(annotation.caption, 'caption'));
      else if (annotation.bbox !== undefined) {
        const bbox = check.list(annotation.bbox, 'bbox').map((each, j) => check.number(each, `bbox[${j}]`));
        if (bbox.length !== 4 || bbox[2] < 0 || bbox[3] < 0) check.fail(`bbox: expected [x, y, width, height], found ${JSON.stringify(bbox)}`);
        const category = categories.get(check.number(annotation.category_id, 'category_id')) ?? check.fail(`category_id ${annotation.category_id} is not among the categories`);
        image.objects.push({ category, bbox: bbox as CocoImage['objects'][number]['bbox'] });
      } else check.fail('expected a caption or a bbox');
    }),
  );
  intake.finish();
  return [...byId.values()];
}

/** Writes a captions file and an instances file of scenes drawn at `side` pixels. Objects are boxed by their squares. */
export function writeCoco(captionsFile: string, instancesFile: string, scenes: readonly { scene: Scene; captions: readonly string[]; fileName: string }[], side: number): void {
  const info = { description: 'emoji world', version: '1' };
  const images = scenes.map(({ fileName }, id) => ({ id, file_name: fileName, width: side, height: side }));
  const names = [...new Set(scenes.flatMap(({ scene }) => scene.objects.map(({ concept }) => concept)))].sort();
  const idOf = new Map(names.map((name, i) => [name, i + 1]));
  const captions = scenes.flatMap(({ captions }, image_id) => captions.map((caption) => ({ image_id, caption }))).map((annotation, id) => ({ id, ...annotation }));
  const instances = scenes
    .flatMap(({ scene }, image_id) =>
      scene.objects.map(({ concept, x, y, size }) => {
        const bbox = [x, y, size, size].map((value) => (value * side) / 32);
        return { image_id, category_id: idOf.get(concept)!, bbox, area: bbox[2] * bbox[3], iscrowd: 0, segmentation: [] };
      }),
    )
    .map((annotation, id) => ({ id, ...annotation }));
  writeFileSync(captionsFile, JSON.stringify({ info, licenses: [], images, annotations: captions }));
  const categories = names.map((name) => ({ id: idOf.get(name), name, supercategory: 'emoji' }));
  writeFileSync(instancesFile, JSON.stringify({ info, licenses: [], images, annotations: instances, categories }));
}
