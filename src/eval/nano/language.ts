import { random } from '../../core/random.js';
import { concepts } from '../../data/emoji.js';
import { definition, textAt } from '../../data/text.js';
import { languageTasks, scoreLanguageTask, type LanguageTask, type LogLikelihood, type Row } from '../language.js';
import { measurement, type Measurement } from '../protocol.js';
import { estimate } from '../statistics.js';
import { defaultTestSet, type CountOptions } from './comprehension.js';
import { logProbabilities, type Subject } from './subject.js';

/** What is a thing? Its definition among those of three other things, scored as HellaSwag's endings are. */
const definitions: LanguageTask = { ...languageTasks.hellaswag, name: 'definitions', prompt: 'a name and "is"; endings by log-likelihood a character' };

/** `an owl is` and four endings of which the first drawn is right. Of concepts that training texts define: what is asked is whether knowledge is kept. */
export function definitionQuestions(count: number, seed: number): Row[] {
  const known = concepts()
    .filter(({ isCore, split }) => isCore && split === 'train')
    .flatMap((each) => {
      const [, subject, ending] = /^(.+? (?:is|are)) (.+)$/.exec(definition(each) ?? '') ?? [];
      return subject ? [{ subject, ending, component: each.component }] : [];
    });
  const stream = random(seed, 'definitions');
  return stream.shuffle(known).slice(0, count).map(({ subject, ending, component }) => {
    const wrong = stream.shuffle(known.filter((other) => other.component !== component && other.ending !== ending)).slice(0, 3);
    const endings = stream.shuffle([ending, ...wrong.map((other) => other.ending)]);
    return { ctx: subject, endings, label: endings.indexOf(ending) };
  });
}

/** What a model knows of language without pictures: definitions by choice, and the mean log-likelihood a token of held-out English texts. */
export async function measureLanguage(subject: Subject, { count = 100, testSet = defaultTestSet, signal }: CountOptions = {}): Promise<Measurement[]> {
  const score: LogLikelihood = async (prompt, answer) => {
    const [tokens] = await logProbabilities(subject, [{ prompt, answer }], { end: false, signal });
    return tokens.reduce((a, b) => a + b);
  };
  const common = { testSeed: testSet.seed, modelScale: subject.modelScale };
  const chosen = await scoreLanguageTask(definitions, definitionQuestions(count, testSet.seed), score, { ...common, split: 'concepts of the training texts' });
  const perToken: number[] = [];
  for (let i = 0; i < count; i++) {
    const text = textAt(testSet.seed, i, 'val');
    perToken.push((await score('', text)) / subject.tokenizer.encode(text).length);
  }
  const { mean, ci } = estimate(perToken, 'texts');
  return [
    { ...chosen, metric: 'definition-accuracy', details: undefined },
    measurement({ metric: 'log-likelihood-per-token', value: mean, n: count, ci, protocol: { ...common, dataset: 'English texts', split: 'val', size: count } }),
  ];
}
