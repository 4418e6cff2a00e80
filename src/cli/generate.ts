import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodePng, type RgbImage } from '../core/images.js';
import { deriveSeed } from '../core/random.js';
import { writeAtomically } from '../core/safetensors.js';
import { draw, namedSampler, samplerNames, type DrawOptions, type SamplerName } from '../dreamllm/create.js';
import { writeDocument, type Part } from '../dreamllm/interleaved.js';
import { promptText } from '../dreamllm/conversation.js';
import type { Prompt } from '../dreamllm/prompt.js';
import { UsageError, type Arguments, type Command } from './command.js';
import { imagesOption, listOption, modelOptions, numberOption, openModel } from './open-model.js';

const save = async (file: string, image: RgbImage): Promise<void> => {
  const png = await encodePng(image);
  writeAtomically(file, (write) => write(png));
};

/** A page with the parts of a document; its pictures lie beside it. */
export function documentPage(title: string, parts: readonly (Part & { file?: string })[]): string {
  const escape = (text: string) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
  const body = parts.map((part) =>
    part.kind === 'text'
      ? `<p>${escape(part.text).replace(/\n/g, '<br>')}</p>`
      : `<figure><img src="${escape(part.file ?? '')}" alt="drawn by the model"><figcaption>seed ${part.seed}${part.forced ? ', put here on request' : ''}</figcaption></figure>`,
  );
  const style = 'body{max-width:40rem;margin:2rem auto;font:1rem/1.5 system-ui,sans-serif;padding:0 1rem}img{width:16rem;image-rendering:pixelated}figure{margin:1rem 0}figcaption{color:#666;font-size:.8rem}';
  return `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${escape(title)}</title>\n<style>${style}</style>\n<h1>${escape(title)}</h1>\n${body.join('\n')}\n</html>\n`;
}

const command: Command = {
  name: 'generate',
  summary: 'Draws pictures for a text (and pictures), or writes a document of text and pictures.',
  usage: 'PROMPT --model DIR [--out FILE.png] | --document [--out FOLDER]',
  options: {
    ...modelOptions,
    out: { type: 'string', help: 'picture.png, or with --document a folder for index.html and its pictures (default generated.png, generated)' },
    count: { type: 'string', help: 'how many pictures to draw of the prompt (default 1)' },
    image: { type: 'string', multiple: true, help: 'a picture before the prompt that the drawing is conditioned on (repeatable)' },
    guidance: { type: 'string', help: 'guidance scale; 1 for none (default 7.5; the paper measures FID at 2.0)' },
    rescale: { type: 'string', help: 'share of guidance rescaling, 0 to 1 (default 0)' },
    steps: { type: 'string', help: 'denoising steps (default 50)' },
    scheduler: { type: 'string', help: `${samplerNames.join(', ')} (default ddpm, the paper's)` },
    negative: { type: 'string', help: 'what guidance leads away from (default the empty prompt)' },
    document: { type: 'boolean', help: 'write a document: the model decides where pictures go' },
    instruction: { type: 'boolean', help: 'with --document: the prompt is a request in the conversation template' },
    'max-images': { type: 'string', help: 'most pictures of a document (default as many as fit)' },
    'max-tokens': { type: 'string', help: 'most positions of a document, prompt included (default the context)' },
    temperature: { type: 'string', help: 'of the text of a document; 0 for the most likely tokens (default 0.7)' },
    'force-image-at': { type: 'string', multiple: true, help: 'put a picture after this many written tokens (repeatable)' },
    json: { type: 'boolean', help: 'print one JSON object' },
  },
  async run(args, signal) {
    const { positionals, values } = args;
    if (positionals.length !== 1) throw new UsageError(`generate: expected one prompt in quotes, found ${positionals.length} arguments.`);
    const [text] = positionals;
    const seed = numberOption(args, 'seed', 0, { integer: true });
    const steps = numberOption(args, 'steps', 50, { min: 1, max: 1000, integer: true });
    const count = numberOption(args, 'count', 1, { min: 1, integer: true });
    const samplerName = String(values.scheduler ?? 'ddpm');
    if (!samplerNames.includes(samplerName as SamplerName)) throw new UsageError(`--scheduler: expected one of ${samplerNames.join(', ')}, found "${samplerName}".`);
    const guidanceScale = numberOption(args, 'guidance', 7.5, { min: 0 });
    const guidanceRescale = numberOption(args, 'rescale', 0, { min: 0, max: 1 });
    const images = await imagesOption(args, 'image');
    const out = String(values.out ?? (values.document ? 'generated' : 'generated.png'));
    if (!values.document && !out.endsWith('.png')) throw new UsageError(`--out: expected a name that ends in .png, found "${out}".`);
    const options = documentOptions(args);

    const { model, tokenizer } = await openModel(args, signal);
    try {
      const drawing: DrawOptions = {
        steps, guidanceScale, guidanceRescale, signal,
        sampler: namedSampler(model.config, samplerName as SamplerName, steps),
        ...(values.negative === undefined ? {} : { negative: String(values.negative) }),
        onStep: ({ index }) => {
          if (process.stderr.isTTY) process.stderr.write(`\rstep ${index + 1} `);
        },
      };
      const protocol = { model: model.name, seed, steps, scheduler: samplerName, guidanceScale, guidanceRescale, negative: values.negative ?? '' };
      const start = performance.now();
      const words = values.instruction ? promptText(text, model.config.template) : text;
      const prompt: Prompt = images.length ? [...images, words] : words;
      const files: string[] = [];
      let parts: Part[] | undefined;
      if (values.document) {
        const placed: (Part & { file?: string })[] = [];
        mkdirSync(out, { recursive: true });
        parts = await writeDocument(model, tokenizer, prompt, {
          ...drawing, ...options, seed,
          async onPart(part) {
            if (part.kind === 'text') {
              if (!values.json) console.log(part.text);
              placed.push(part);
              return;
            }
            const file = `picture-${files.length + 1}.png`;
            await save(join(out, file), part.image);
            files.push(join(out, file));
            placed.push({ ...part, file });
            if (!values.json) console.log(`[${join(out, file)}]`);
          },
        });
        const page = join(out, 'index.html');
        writeAtomically(page, (write) => write(Buffer.from(documentPage(text, placed))));
        files.push(page);
      } else {
        const pictures = await draw(model, tokenizer, Array<Prompt>(count).fill(prompt), Array.from({ length: count }, (_, i) => (i === 0 ? seed : deriveSeed(seed, 'sample', i))), drawing);
        for (const [i, picture] of pictures.entries()) {
          const file = count === 1 ? out : out.replace(/\.png$/, `-${i + 1}.png`);
          if (!existsSync(dirname(file))) mkdirSync(dirname(file), { recursive: true });
          await save(file, picture);
          files.push(file);
        }
      }
      const seconds = (performance.now() - start) / 1000;
      if (process.stderr.isTTY) process.stderr.write('\r');
      const cost = model.describeCost();
      if (cost) console.error(`Language model from disk: ${cost}.`);
      if (values.json) console.log(JSON.stringify({ prompt: text, files, protocol, seconds, ...(parts ? { parts: parts.map((part) => (part.kind === 'text' ? part : { kind: part.kind, seed: part.seed, forced: part.forced })) } : {}) }, null, 1));
      else console.log(`${files.join('\n')}\n${seconds.toFixed(1)} s`);
    } finally {
      model.dispose();
    }
  },
};

function documentOptions(args: Arguments) {
  const forced = listOption(args, 'force-image-at').map((text) => {
    if (!/^\d+$/.test(text)) throw new UsageError(`--force-image-at: expected a whole number from 0, found "${text}".`);
    return Number(text);
  });
  const bound = (name: string) => (args.values[name] === undefined ? undefined : numberOption(args, name, 0, { min: 0, integer: true }));
  return { temperature: numberOption(args, 'temperature', 0.7, { min: 0 }), maxImages: bound('max-images'), maxTokens: bound('max-tokens'), forceImageAt: forced };
}

export default command;
