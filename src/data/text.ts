import { random } from '../core/random.js';
import { caption } from './captions.js';
import { concepts, type Concept } from './emoji.js';
import { kinds, topics } from './kinds.js';
import { sceneAt } from './scenes.js';
import type { Split } from './types.js';
import { shortGloss, synsetOf, wordNet } from './wordnet.js';
import { isCountable, isOrAre, isPlural, list, plural, withArticle } from './wording.js';

/** What a concept is, in one sentence from WordNet: "an octopus is a bottom-living cephalopod …". Undefined without a fitting sense. */
export function definition(concept: Concept): string | undefined {
  const synset = synsetOf(concept);
  const gloss = synset && shortGloss(synset);
  if (!gloss || !/^[a-z ,'-]+$/.test(gloss)) return undefined;
  const hasArticle = /^(?:an?|the|any|one|some) /.test(gloss) || isPlural(concept.name);
  return `${withArticle(concept.name)} ${isOrAre(concept.name)} ${hasArticle ? gloss : withArticle(gloss)}`;
}

/** Facts that the emoji world itself knows about a concept. */
export function facts(concept: Concept): string[] {
  const { name, subgroup, group, tags } = concept;
  const subject = `${withArticle(name)} ${isOrAre(name)}`;
  const kind = kinds[subgroup];
  const words = tags.filter((tag) => /^[a-z ]+$/.test(tag) && !name.includes(tag)).slice(0, 4);
  return [
    ...(kind && isCountable(name) ? [`${subject} ${withArticle(kind[0])}`, `some ${kind[1]} are ${plural(name)}`] : []),
    `a picture of ${withArticle(name)} is about ${topics[group]}`,
    ...(words.length > 1 ? [`${name} makes one think of ${list(words)}`] : []),
  ];
}

let glossary: string[] | undefined;

/** Definitions of common English nouns: lemmas that occur in WordNet's tagged corpus, with a short gloss. */
export function commonGlosses(): readonly string[] {
  if (glossary) return glossary;
  const { senses, taggedSenses, synset } = wordNet();
  glossary = [];
  for (const [lemma, offsets] of senses) {
    const numTagged = taggedSenses.get(lemma)!;
    if (!/^[a-z]+$/.test(lemma)) continue;
    for (const offset of offsets.slice(0, numTagged)) {
      const gloss = shortGloss(synset(offset), 14);
      if (gloss && /^[a-z ,'-]+$/.test(gloss)) glossary.push(`${lemma}: ${gloss}.`);
    }
  }
  return glossary;
}

/**
 * Line `index` of the language model's text: facts about concepts, captions and definitions. Captions name concepts of the split only;
 * facts and definitions of unseen concepts are left to their split too.
 */
export function textAt(seed: number, index: number, split: Split): string {
  const stream = random(seed, 'text', split, index);
  const draw = stream.uniform();
  if (draw < 0.4) return `${caption(sceneAt(seed, index, { split, axis: 'concept' }), 'full')}.`;
  if (draw < 0.6) {
    const glosses = commonGlosses();
    // One gloss of ten is kept for validation.
    const remainder = stream.integer(Math.floor(glosses.length / 10)) * 10;
    return glosses[split === 'train' ? remainder + 1 + stream.integer(9) : remainder];
  }
  const mine = conceptsOf(split);
  const sentences = Array.from({ length: 3 }, () => {
    const concept = stream.choice(mine);
    const meaning = definition(concept);
    return stream.choice(meaning && draw < 0.8 ? [meaning] : facts(concept));
  });
  return `${sentences.join('. ')}.`;
}

const conceptsOf = (split: Split): readonly Concept[] => {
  let mine = splitLists.get(split);
  if (!mine) splitLists.set(split, (mine = concepts().filter((each) => each.split === split)));
  return mine;
};
const splitLists = new Map<Split, Concept[]>();
