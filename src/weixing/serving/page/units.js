/* A sentence as the units that can be masked. Pure. */

export const MASK = "[MASK]";
const SPECIAL = "\\[(?:MASK|PAD|UNK|CLS|SEP|unused\\d+)\\]";
const WORD = "[\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}\\p{M}\\p{Nd}]+";
const EMOJI = "\\p{Extended_Pictographic}[\\p{M}\\p{Emoji_Modifier}\\u200d\\p{Extended_Pictographic}]*";
const UNIT = new RegExp(`${SPECIAL}|\\s+|${WORD}|${EMOJI}|.`, "gsu");

/** Characters, words in Latin letters, special tokens, and what is between them. */
export const units = (text) => text.match(UNIT) ?? [];

export const isBlank = (unit) => !unit.trim();

/** Where the masks of a sentence are after it was changed: those before and behind the change stay. */
export function moved(before, after, masked) {
  let start = 0;
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const places = [...masked].map((place) => {
    if (place < start) return place;
    return place >= before.length - end ? place + after.length - before.length : -1;
  });
  return new Set(places.filter((place) => place >= 0));
}

/** Masked places of a sentence in order, typed masks among them. */
export const blanks = (all, masked) =>
  all.flatMap((unit, place) => (unit === MASK || masked.has(place) ? [place] : []));

/** The sentence as the model reads it. */
export const written = (all, masked) => all.map((unit, place) => (masked.has(place) ? MASK : unit)).join("");
