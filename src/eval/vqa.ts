/** One question's human answers and the model's. */
export interface VqaItem {
  readonly id: string | number;
  readonly answers: readonly string[];
  readonly prediction: string;
  readonly questionType?: string;
  readonly answerType?: string;
}

/**
 * - `official`: GT-Vision-Lab's evaluation. Texts are normalised only where the human answers differ.
 * - `evalai`: what the DreamLLM repository scores VQAv2, OKVQA, VizWiz and TextVQA with. Always normalised, with one more step.
 * - `containment`: that repository's other copy, in which a human answer counts when it is contained in the prediction. Reads higher.
 */
export type VqaVariant = 'official' | 'evalai' | 'containment';

/** VQA accuracy in 0..1 (Antol et al. 2015): min(1, equal answers / 3), averaged over leaving each human answer out. */
export function vqaAccuracy(items: readonly VqaItem[], variant: VqaVariant = 'official'): { accuracy: number; perQuestion: number[] } {
  if (items.length === 0) throw new Error('VQA: expected at least one question, found none.');
  const perQuestion = items.map((item) => scoreQuestion(item, variant));
  return { accuracy: mean(perQuestion), perQuestion };
}

/** Means of scores by a label of their questions, such as the answer type. */
export function groupMeans(scores: readonly number[], labels: readonly (string | undefined)[]): Record<string, { mean: number; n: number }> {
  const groups = new Map<string, number[]>();
  scores.forEach((score, i) => {
    const label = labels[i];
    if (label !== undefined) groups.set(label, [...(groups.get(label) ?? []), score]);
  });
  return Object.fromEntries([...groups].map(([label, values]) => [label, { mean: mean(values), n: values.length }]));
}

function scoreQuestion({ id, answers, prediction }: VqaItem, variant: VqaVariant): number {
  if (answers.length < 2) throw new Error(`VQA question ${id}: leaving one answer out needs at least 2, found ${answers.length}.`);
  if (variant === 'evalai') {
    const found = evalAiNormalize(prediction);
    return leaveOneOut(answers.map(evalAiNormalize), (answer) => answer === found);
  }
  const clean = (text: string) => text.replace(/[\n\t]/g, ' ').trim();
  const given = answers.map(clean);
  const differ = new Set(given).size > 1;
  const normalize = (text: string) => (differ ? normalizeDigitsArticles(normalizePunctuation(text)) : text);
  const found = normalize(clean(prediction));
  return leaveOneOut(given.map(normalize), (answer) => (variant === 'containment' ? found.includes(answer) : answer === found));
}

function leaveOneOut(answers: readonly string[], matches: (answer: string) => boolean): number {
  const hits = answers.map(matches);
  const count = hits.filter(Boolean).length;
  return mean(hits.map((hit) => Math.min(1, (count - (hit ? 1 : 0)) / 3)));
}

const punctuation = [';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!'];

/** Punctuation beside a blank, or anywhere in a text with a number like 1,000, vanishes; elsewhere it becomes a blank. */
export function normalizePunctuation(text: string): string {
  const commaInNumber = /\d,\d/.test(text);
  let out = text;
  for (const mark of punctuation) {
    const remove = commaInNumber || text.includes(`${mark} `) || text.includes(` ${mark}`);
    out = out.replaceAll(mark, remove ? '' : ' ');
  }
  // The reference passes a flag, 32, where the number of replacements belongs.
  let left = 32;
  return out.replace(/\.(?!\d)/g, (point) => (left-- > 0 ? '' : point));
}

/** Lower case, digits for small numbers, no articles, apostrophes put back. */
export function normalizeDigitsArticles(text: string): string {
  return text
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => digits.get(word) ?? word)
    .filter((word) => !articles.has(word))
    .map((word) => contractions.get(word) ?? word)
    .join(' ');
}

/** EvalAI's answer processing, as copied from Pythia into the DreamLLM repository. */
export function evalAiNormalize(text: string): string {
  const words = text.toLowerCase().replace(/[,?]/g, '').replaceAll("'s", " 's").trim();
  return normalizeDigitsArticles(normalizePunctuation(words.replace(/[\n\t]/g, ' ').trim()));
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const articles = new Set(['a', 'an', 'the']);
const digits = new Map(['none 0', 'zero 0', 'one 1', 'two 2', 'three 3', 'four 4', 'five 5', 'six 6', 'seven 7', 'eight 8', 'nine 9', 'ten 10'].map((pair) => pair.split(' ') as [string, string]));

/** The published table, without entries that change nothing. Its oddities ("somebody'd" loses its apostrophe) are part of the metric. */
const contractions = new Map(
  `aint ain't|arent aren't|cant can't|couldve could've|couldnt couldn't|couldn'tve couldn't've|couldnt've couldn't've|didnt didn't|doesnt doesn't
dont don't|hadnt hadn't|hadnt've hadn't've|hadn'tve hadn't've|hasnt hasn't|havent haven't|hed he'd|hed've he'd've|he'dve he'd've|hes he's|howd how'd
howll how'll|hows how's|isnt isn't|itd it'd|itd've it'd've|it'dve it'd've|itll it'll|maam ma'am|mightnt mightn't|mightnt've mightn't've
mightn'tve mightn't've|mightve might've|mustnt mustn't|mustve must've|neednt needn't|notve not've|oclock o'clock|oughtnt oughtn't|ow's'at 'ow's'at
'ows'at 'ow's'at|'ow'sat 'ow's'at|shant shan't|shed've she'd've|she'dve she'd've|shouldve should've|shouldnt shouldn't|shouldnt've shouldn't've
shouldn'tve shouldn't've|somebody'd somebodyd|somebodyd've somebody'd've|somebody'dve somebody'd've|somebodyll somebody'll|somebodys somebody's
someoned someone'd|someoned've someone'd've|someone'dve someone'd've|someonell someone'll|someones someone's|somethingd something'd
somethingd've something'd've|something'dve something'd've|somethingll something'll|thats that's|thered there'd|thered've there'd've
there'dve there'd've|therere there're|theres there's|theyd they'd|theyd've they'd've|they'dve they'd've|theyll they'll|theyre they're|theyve they've
twas 'twas|wasnt wasn't|wed've we'd've|we'dve we'd've|weve we've|werent weren't|whatll what'll|whatre what're|whats what's|whatve what've|whens when's
whered where'd|wheres where's|whereve where've|whod who'd|whod've who'd've|who'dve who'd've|wholl who'll|whos who's|whove who've|whyll why'll
whyre why're|whys why's|wont won't|wouldve would've|wouldnt wouldn't|wouldnt've wouldn't've|wouldn'tve wouldn't've|yall y'all|yall'll y'all'll
y'allll y'all'll|yall'd've y'all'd've|y'alld've y'all'd've|y'all'dve y'all'd've|youd you'd|youd've you'd've|you'dve you'd've|youll you'll
youre you're|youve you've`.split(/[|\n]/).map((pair) => pair.split(' ') as [string, string]),
);
