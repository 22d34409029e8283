// "Perhaps you meant ...": the nearest of some names, as PostgREST's fuzzy sets find it.
// Candidates share pieces of two or three letters with the requested name. The nearest of them is
// the one with the fewest letters to change.

const CANDIDATES = 50;

/** The nearest name, unless its similarity to `wanted` is below `least` (0 to 1). */
export function nearest(names, wanted, least) {
  const lowered = wanted.toLowerCase();
  for (const size of [3, 2]) {
    const wantedPieces = pieces(lowered, size);
    const likely = names
      .map((name) => ({ name, score: cosine(pieces(name.toLowerCase(), size), wantedPieces) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => b.score - a.score)
      .slice(0, CANDIDATES)
      .map(({ name }) => ({ name, score: likeness(name.toLowerCase(), lowered) }))
      .filter(({ score }) => score >= least)
      .sort((a, b) => b.score - a.score);
    if (likely.length) return likely[0].name;
  }
  return null;
}

function pieces(name, size) {
  const padded = `-${name.replace(/[^\p{L}\p{N}, ]/gu, "")}-`.padEnd(size, "-");
  const counts = new Map();
  for (let at = 0; at + size <= padded.length; at++) {
    const piece = padded.slice(at, at + size);
    counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return counts;
}

function cosine(one, other) {
  let product = 0;
  for (const [piece, count] of one) product += count * (other.get(piece) ?? 0);
  return product && product / (length(one) * length(other));
}

function length(counts) {
  return Math.hypot(...counts.values());
}

// 1 for the same, 0 for nothing in common.
function likeness(one, other) {
  return 1 - distance([...one], [...other]) / Math.max(one.length, other.length);
}

function distance(one, other) {
  let row = other.map((_, at) => at + 1);
  row.unshift(0);
  for (const [at, letter] of one.entries()) {
    const next = [at + 1];
    for (const [place, another] of other.entries()) {
      const swapped = row[place] + (letter === another ? 0 : 1);
      next.push(Math.min(swapped, row[place + 1] + 1, next[place] + 1));
    }
    row = next;
  }
  return row.at(-1);
}
