/**
 * Command lines of QEMU's tools, read as getopt_long reads them: options and operands in any order, `--` ends the
 * options, long names may be shortened. What cannot be read is left to the real tool, which knows the words to
 * complain with. Pure.
 */
export interface Syntax {
  /** Letters; a colon behind one that takes a value. */
  readonly short: string;
  /** Long names; `=` behind one that takes a value, `:X` behind one that means the letter X. */
  readonly long: readonly string[];
}

export interface Option {
  /** A letter, or a long name that no letter stands for. */
  readonly name: string;
  readonly value: string | undefined;
}

export interface CommandLine {
  readonly options: readonly Option[];
  readonly operands: readonly string[];
}

interface LongOption {
  readonly long: string;
  readonly name: string;
  readonly takesValue: boolean;
}

/** Undefined when an option is unknown, ambiguous, or lacks its value. */
export function parseArguments(syntax: Syntax, words: readonly string[]): CommandLine | undefined {
  const options: Option[] = [];
  const operands: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--') {
      operands.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      operands.push(word);
      continue;
    }
    const read = word.startsWith('--') ? readLong(syntax, word.slice(2)) : readShort(syntax, word.slice(1));
    if (read === undefined) return undefined;
    const needy = read.at(-1)!;
    if (needy.value === null) {
      const value = words[++i];
      if (value === undefined) return undefined;
      read[read.length - 1] = { name: needy.name, value };
    }
    for (const { name, value } of read) options.push({ name, value: value ?? undefined });
  }
  return { options, operands };
}

/** `value` null: it is the next word. */
type Read = { name: string; value: string | undefined | null }[];

function readShort(syntax: Syntax, letters: string): Read | undefined {
  const read: Read = [];
  for (let i = 0; i < letters.length; i++) {
    const name = letters[i]!;
    const at = name === ':' ? -1 : syntax.short.indexOf(name);
    if (at < 0) return undefined;
    if (syntax.short[at + 1] !== ':') {
      read.push({ name, value: undefined });
      continue;
    }
    const rest = letters.slice(i + 1);
    read.push({ name, value: rest === '' ? null : rest });
    break;
  }
  return read;
}

function readLong(syntax: Syntax, text: string): Read | undefined {
  const [typed, ...rest] = text.split('=');
  const all = syntax.long.map(longOption);
  const exact = all.filter(({ long }) => long === typed);
  const matching = exact.length > 0 ? exact : all.filter(({ long }) => long.startsWith(typed!));
  if (matching.length !== 1) return undefined;
  const { name, takesValue } = matching[0]!;
  if (!takesValue) return rest.length === 0 ? [{ name, value: undefined }] : undefined;
  return [{ name, value: rest.length === 0 ? null : rest.join('=') }];
}

function longOption(spec: string): LongOption {
  const [long, letter] = spec.replace('=', '').split(':') as [string, string | undefined];
  return { long, name: letter ?? long, takesValue: spec.includes('=') };
}

/** The words again, in a form that says the same; operands last. */
export function formatArguments(line: CommandLine): string[] {
  const words = line.options.flatMap(({ name, value }) => {
    const flag = name.length === 1 ? `-${name}` : `--${name}`;
    return value === undefined ? [flag] : [flag, value];
  });
  return [...words, '--', ...line.operands];
}

/** The last one counts, as in QEMU. */
export function lastValue(line: CommandLine, name: string): string | undefined {
  return line.options.findLast((option) => option.name === name)?.value;
}

export function has(line: CommandLine, name: string): boolean {
  return line.options.some((option) => option.name === name);
}

export function without(line: CommandLine, ...names: string[]): CommandLine {
  return { ...line, options: line.options.filter(({ name }) => !names.includes(name)) };
}
