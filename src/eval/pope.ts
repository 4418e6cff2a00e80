export interface PopeScores {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly trueNegatives: number;
  readonly falseNegatives: number;
  readonly accuracy: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Share of answers read as yes: a model that always agrees shows here. */
  readonly yesRatio: number;
}

/**
 * Reads an answer as POPE's evaluation does (Li et al. 2023): of the first sentence without commas, the words "No", "no" or "not" mean no, and
 * everything else means yes. "notice" is no such word; "NO" in capitals is not either.
 */
export function parseYesNo(answer: string): 'yes' | 'no' {
  const words = answer.split('.')[0].replaceAll(',', '').split(' ');
  return words.some((word) => word === 'No' || word === 'not' || word === 'no') ? 'no' : 'yes';
}

/** POPE's scores with yes as the positive class. A ratio without cases is 0. */
export function popeScores(labels: readonly ('yes' | 'no')[], answers: readonly ('yes' | 'no')[]): PopeScores {
  if (labels.length === 0 || labels.length !== answers.length) throw new Error(`POPE: expected an answer for each label, found ${labels.length} labels and ${answers.length} answers.`);
  const count = (label: string, answer: string) => labels.filter((given, i) => given === label && answers[i] === answer).length;
  const ratio = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const [truePositives, falsePositives, trueNegatives, falseNegatives] = [count('yes', 'yes'), count('no', 'yes'), count('no', 'no'), count('yes', 'no')];
  const precision = ratio(truePositives, truePositives + falsePositives);
  const recall = ratio(truePositives, truePositives + falseNegatives);
  return {
    truePositives, falsePositives, trueNegatives, falseNegatives, precision, recall,
    accuracy: (truePositives + trueNegatives) / labels.length,
    f1: ratio(2 * precision * recall, precision + recall),
    yesRatio: (truePositives + falsePositives) / labels.length,
  };
}
