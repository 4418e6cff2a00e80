/**
 * Words as the caption metrics see them: the Penn Treebank rules of Stanford's tokenizer (3.4.1, lower-cased) for caption-like English, and then
 * without the punctuation that coco-caption drops. Rules for things captions do not hold, such as URLs, are left out.
 */
export function captionTokens(caption: string): string[] {
  const tokens: string[] = [];
  for (const word of normalize(caption).split(/\s+/)) if (word) tokens.push(...splitWord(word));
  return tokens.filter((token) => !dropped.has(token));
}

const dropped = new Set(["''", "'", '``', '`', '.', '?', '!', ',', ':', '-', '--', '...', ';']);

// Their point belongs to the word.
const abbreviations = new Set(['mr.', 'mrs.', 'ms.', 'dr.', 'st.', 'jr.', 'sr.', 'prof.', 'vs.', 'etc.', 'e.g.', 'i.e.', 'a.m.', 'p.m.', 'u.s.', 'u.k.', 'no.', 'inc.', 'co.', 'corp.']);

const joined: Record<string, string[]> = {
  cannot: ['can', 'not'], gonna: ['gon', 'na'], gotta: ['got', 'ta'], wanna: ['wan', 'na'], lemme: ['lem', 'me'], gimme: ['gim', 'me'],
};

function normalize(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/[\u201c\u201d]/g, '"')
    .replace(/\u2026/g, ' ... ')
    .replace(/[\u2013\u2014]/g, ' -- ')
    .replace(/\.{2,}/g, ' ... ')
    .replace(/--+/g, ' -- ')
    // The tokenizer writes brackets as -LRB-; lower-cased, they escape the list of punctuation and stay in, as in the reference.
    .replace(/[([{]/g, (c) => ` ${c === '(' ? '-lrb-' : c === '[' ? '-lsb-' : '-lcb-'} `)
    .replace(/[)\]}]/g, (c) => ` ${c === ')' ? '-rrb-' : c === ']' ? '-rsb-' : '-rcb-'} `)
    .replace(/"/g, " '' ")
    .replace(/[?!;]/g, ' $& ')
    .replace(/([$£€#%&@*+=<>|~^])/g, ' $1 ')
    // Within numbers and times, comma and colon hold together.
    .replace(/,(?!\d)|(?<!\d),/g, ' , ')
    .replace(/:(?!\d)|(?<!\d):/g, ' : ');
}

function splitWord(word: string): string[] {
  if (/^-[lr][rsc]b-$/.test(word)) return [word];
  if (word === '...' || word === '--') return [word];
  const leading = /^['`]+(?!(?:s|d|m|ll|re|ve|em|tis|twas)$)/.exec(word)?.[0] ?? '';
  if (leading && leading.length < word.length) return [...leading, ...splitWord(word.slice(leading.length))];
  if (word.endsWith('.') && word.length > 1 && !abbreviations.has(word) && !/^(?:[a-z]\.)+$/.test(word)) return [...splitWord(word.slice(0, -1)), '.'];
  const clitic = /^(.+?)('(?:s|d|m|ll|re|ve))$/.exec(word) ?? /^(.+?)(n't)$/.exec(word);
  if (clitic) return [...splitWord(clitic[1]), clitic[2]];
  if (word.length > 1 && /[^'`]['`]+$/.test(word)) return [...splitWord(word.replace(/['`]+$/, '')), "'"];
  if (/^-+[a-z0-9]/.test(word)) return ['-', ...splitWord(word.replace(/^-+/, ''))];
  if (/[a-z0-9]-+$/.test(word)) return [...splitWord(word.replace(/-+$/, '')), '-'];
  return joined[word] ?? [word];
}
