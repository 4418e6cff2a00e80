/** English for the names of things: articles, plurals and numbers. */

const singularInS = new Set(
  ('glass bus trolleybus minibus cactus octopus lotus compass dress cross hibiscus rhinoceros hippopotamus princess tennis lacrosse abacus ' +
    'wheelchair chess oasis santa claus microbes x-ray').split(' '),
);
const uncountable = new Set(
  (
    'bread rice butter salt bacon garlic broccoli popcorn sushi spaghetti coral milk sake mate ice yarn thread soap tea fire fog wood fondue ' +
    'falafel oden dango custard money flatbread tennis badminton lacrosse hockey bowling pong corn cheese algae confetti dna luggage rain snow ' +
    'hair food cooking art arts playing'
  ).split(' '),
);
const irregular: Record<string, string> = {
  mouse: 'mice', goose: 'geese', ox: 'oxen', sheep: 'sheep', fish: 'fish', deer: 'deer', bison: 'bison', moose: 'moose', shrimp: 'shrimp', squid: 'squid',
  wolf: 'wolves', leaf: 'leaves', knife: 'knives', man: 'men', woman: 'women', child: 'children', person: 'people', tooth: 'teeth', foot: 'feet',
  scarf: 'scarves', loaf: 'loaves', potato: 'potatoes', tomato: 'tomatoes', mango: 'mangoes', volcano: 'volcanoes',
  hero: 'heroes', superhero: 'superheroes', calf: 'calves', die: 'dice',
};
const vowelSound = /^(?:[aio]|e(?!we|u)|u(?!ni|til|s[eai])|hour|heir|honest|x-ray)/i;

const lastWord = (name: string) => name.split(/ (?:of|with|at|in|without|from|on) /)[0].split(' ').at(-1)!;

export const isPlural = (name: string): boolean => {
  const word = lastWord(name);
  return /[^s]s$/.test(word) && !singularInS.has(word);
};
/** Whether one can say "two …s" of it. */
export const isCountable = (name: string): boolean => !isPlural(name) && !uncountable.has(lastWord(name));

/** "an owl", "grapes", "bread". */
export const withArticle = (name: string): string => (isCountable(name) ? `${vowelSound.test(name) ? 'an' : 'a'} ${name}` : name);

/** "apples" for "apple", "pots of food" for "pot of food". Expects a countable name. */
export function plural(name: string): string {
  const head = lastWord(name);
  const start = name.indexOf(head);
  const rest = name.slice(start + head.length);
  return name.slice(0, start) + pluralWord(head) + rest;
}

function pluralWord(word: string): string {
  if (irregular[word]) return irregular[word];
  if (/(?:s|x|z|ch|sh)$/.test(word)) return `${word}es`;
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return `${word}s`;
}

const numbers = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
/** "three" for 3, up to nine. */
export const numberWord = (count: number): string => numbers[count] ?? String(count);

/** "a, b and c". */
export const list = (items: readonly string[]): string =>
  items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;

export const isOrAre = (name: string): string => (isPlural(name) ? 'are' : 'is');

export const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
