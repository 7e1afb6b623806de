/**
 * QEMU's `key=value,key=value`, in which a comma inside a value is written twice; used by -o, --image-opts and
 * --object. Pure.
 */
export type KeyValues = [key: string, value: string][];

/** A word without `=` is a switch: `key` is on, `nokey` is off; a first one may stand for `implied`. */
export function parseKeyValues(text: string, implied?: string): KeyValues {
  return splitCommas(text).map((word, index) => {
    const at = word.indexOf('=');
    if (at >= 0) return [word.slice(0, at), word.slice(at + 1)];
    if (index === 0 && implied !== undefined) return [implied, word];
    return word.startsWith('no') ? [word.slice(2), 'off'] : [word, 'on'];
  });
}

export function formatKeyValues(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([key, value]) => `${key}=${escapeCommas(value)}`).join(',');
}

export function escapeCommas(text: string): string {
  return text.replaceAll(',', ',,');
}

function splitCommas(text: string): string[] {
  const words: string[] = [];
  let word = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') word += text[i];
    else if (text[i + 1] === ',') {
      word += ',';
      i++;
    } else {
      words.push(word);
      word = '';
    }
  }
  if (word !== '' || words.length > 0) words.push(word);
  return words.filter((each) => each !== '');
}
