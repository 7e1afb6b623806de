/** JSON that is asked for much oftener than it changes: parsed once for each text. */
export function parsedOnce<T>(): (text: string | undefined) => T | undefined {
  let known: { text: string; value: T } | undefined;
  return (text) => {
    if (text === undefined) return undefined;
    if (known?.text !== text) known = { text, value: JSON.parse(text) as T };
    return known.value;
  };
}
