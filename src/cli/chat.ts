import { createInterface } from 'node:readline/promises';
import type { RgbImage } from '../core/images.js';
import { continueText, type AnswerOptions } from '../dreamllm/comprehend.js';
import { promptText, type Template } from '../dreamllm/conversation.js';
import type { Prompt } from '../dreamllm/prompt.js';
import { UsageError, type Command } from './command.js';
import { imagesOption, modelOptions, numberOption, openModel } from './open-model.js';

/** The rounds so far and a new question as one prompt: pictures before the first question, each answer closed by `</s>`. */
export function chatPrompt(images: readonly RgbImage[], rounds: readonly { question: string; answer: string }[], question: string, template: Template): Prompt {
  const { user, assistant } = template;
  const questions = [...rounds.map((round) => round.question), question];
  const [before, after] = promptText('\n', template).split('\n');
  const first = images.length ? [before, ...images, `\n${questions[0]}${after}`] : [`${before}${questions[0]}${after}`];
  const rest = rounds.map(({ answer }, i) => ` ${answer}</s>${user}: ${questions[i + 1]} ${assistant}:`);
  const last = first.pop() as string;
  return [...first, last + rest.join('')];
}

const command: Command = {
  name: 'chat',
  summary: 'Answers questions about pictures.',
  usage: '[QUESTION…] --model DIR [--image FILE]…',
  options: {
    ...modelOptions,
    image: { type: 'string', multiple: true, help: 'a picture to talk about (repeatable)' },
    'max-tokens': { type: 'string', help: 'longest answer (default 128)' },
    temperature: { type: 'string', help: '0 for the most likely tokens (default 0)' },
    'top-p': { type: 'string', help: 'nucleus of the draws (default 1)' },
    beams: { type: 'string', help: 'beam search; the paper evaluates with 5 (default 1)' },
    json: { type: 'boolean', help: 'print one JSON object; needs questions as arguments' },
  },
  async run(args, signal) {
    const { positionals, values } = args;
    if (positionals.length === 0 && (values.json || !process.stdin.isTTY)) throw new UsageError('chat: expected at least one question in quotes. Without one it asks on a terminal.');
    const seed = numberOption(args, 'seed', 0, { integer: true });
    const options: AnswerOptions = {
      maxNewTokens: numberOption(args, 'max-tokens', 128, { min: 1, integer: true }),
      temperature: numberOption(args, 'temperature', 0, { min: 0 }),
      topP: numberOption(args, 'top-p', 1, { min: 1e-6, max: 1 }),
      beams: numberOption(args, 'beams', 1, { min: 1, integer: true }),
      signal,
    };
    const images = await imagesOption(args, 'image');
    const { model, tokenizer } = await openModel(args, signal);
    const rounds: { question: string; answer: string }[] = [];
    const reply = async (question: string) => {
      const live = !values.json && options.beams === 1;
      const prompt = chatPrompt(images, rounds, question, model.config.template);
      const answer = await continueText(model, tokenizer, prompt, { ...options, seed: seed + rounds.length, ...(live ? { onText: (text: string) => void process.stdout.write(text) } : {}) });
      rounds.push({ question, answer });
      if (live) process.stdout.write('\n');
      else if (!values.json) console.log(answer);
    };
    try {
      if (positionals.length) for (const question of positionals) await reply(question);
      else await conversation(reply, signal);
      if (values.json) console.log(JSON.stringify({ model: model.name, seed, rounds }, null, 1));
      const cost = model.describeCost();
      if (cost) console.error(`Language model from disk: ${cost}.`);
    } finally {
      model.dispose();
    }
  },
};

/** Asks on the terminal until an empty line or the end of input. */
async function conversation(reply: (question: string) => Promise<void>, signal: AbortSignal): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    for (;;) {
      const question = (await terminal.question('> ', { signal })).trim();
      if (!question) return;
      await reply(question);
    }
  } finally {
    terminal.close();
  }
}

export default command;
