import { formatKeyValues, type KeyValues, parseKeyValues } from './key-values.js';
import { isImageName } from './name.js';
import { type Image, Session } from './session.js';
import * as structured from './structured.js';
import { ToolError } from './tool-error.js';

/**
 * Every other program of QEMU (the emulators, qemu-nbd, qemu-storage-daemon) on sheepdog: names: `sheepdog-qemu PROGRAM
 * ARGUMENTS`. Names are put in other terms wherever a disk can be named; the program does the rest.
 */
export const TOOL = 'sheepdog-qemu';

/** Options whose value is a list that may name a disk. */
const lists = /^--?(drive|blockdev|image-opts)$/;

/** Runs one command line and returns the program's exit code. Rejects with ToolError. */
export async function runAny(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const [program, ...words] = argv;
  if (program === undefined || program.startsWith('-')) {
    throw new ToolError('give a program and its arguments, as in: sheepdog-qemu qemu-nbd sheepdog:first', 64);
  }
  const session = new Session(program, env);
  const replaced: string[] = [];
  try {
    session.tlsCreds = tlsCredentials(words);
    for (const [index, word] of words.entries()) {
      replaced.push(await replaceWord(session, words[index - 1] ?? '', word));
    }
  } finally {
    // A guest runs for a long time, and needs nothing of this.
    await session.close();
  }
  return (await session.run(replaced, 'pass')).exit;
}

async function replaceWord(session: Session, before: string, word: string): Promise<string> {
  const joined = /^(--?(?:drive|blockdev|image-opts))=(.*)$/s.exec(word);
  if (joined !== null) return `${joined[1]}=${await replaceList(session, joined[2]!)}`;
  if (lists.test(before)) return replaceList(session, word);
  return isImageName(word) || word.startsWith('json:') ? (await session.open(word)).word : word;
}

/** `file=sheepdog:x,format=raw`, `driver=sheepdog,vdi=x,...`, or the latter as a JSON object. */
async function replaceList(session: Session, text: string): Promise<string> {
  if (!text.includes('sheepdog')) return text;
  const json = text.startsWith('{') ? structured.parseJsonName(`json:${text}`) : undefined;
  const options = json ?? structured.parseImageOptions(text);
  if (structured.imageParts(options).length > 0) {
    // A flat list takes text only: its switches are called on and off.
    const list = structured.formatImageOptions(
      new Map([...options].map(([key, value]) => [key, switchText(value)])),
    );
    return (await session.open(list, { isOptions: true })).word;
  }
  return json === undefined ? replaceFile(session, parseKeyValues(text)) : text;
}

function switchText(value: unknown): unknown {
  if (typeof value !== 'boolean') return value;
  return value ? 'on' : 'off';
}

/** A snapshot never changes: without saying so, an emulator could not open it. */
async function replaceFile(session: Session, pairs: KeyValues): Promise<string> {
  const replaced: KeyValues = [];
  let image: Image | undefined;
  for (const [key, value] of pairs) {
    const isFile = key === 'file' && (isImageName(value) || value.startsWith('json:'));
    if (isFile) image = await session.open(value);
    replaced.push([key, isFile ? image!.word : value]);
  }
  const isSaid = pairs.some(([key]) => key === 'readonly' || key === 'read-only');
  if (image?.volume?.vdi.snapshot === true && !isSaid) replaced.push(['read-only', 'on']);
  return formatKeyValues(replaced);
}

function tlsCredentials(words: readonly string[]): string | undefined {
  const object = words.findLast(
    (word, index) => /^--?object$/.test(words[index - 1] ?? '') && word.startsWith('tls-creds'),
  );
  return object === undefined ? undefined : /(?:^|,)id=([^,]+)/.exec(object)?.[1];
}
