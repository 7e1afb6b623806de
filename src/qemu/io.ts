import { formatArguments, has, type Option, parseArguments } from './arguments.js';
import { isImageName } from './name.js';
import { type ImageOptions, Session } from './session.js';
import { ioSyntax } from './syntax.js';
import { ToolError } from './tool-error.js';

/**
 * qemu-io for sheepdog: names, as its operand and in its `open` commands. Names that are typed at its prompt are the
 * real tool's business.
 */
export const TOOL = 'qemu-io';

/** Runs one command line (without the program's name) and returns its exit code. Rejects with ToolError. */
export async function runIo(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const session = new Session(TOOL, env);
  try {
    const line = parseArguments(ioSyntax, argv);
    if (line === undefined || line.operands.length > 1 || has(line, 'h')) {
      return (await session.run(argv, 'pass')).exit;
    }
    const creds = line.options.findLast(
      ({ name, value }) => name === 'object' && value?.startsWith('tls-creds'),
    );
    session.tlsCreds = /(?:^|,)id=([^,]+)/.exec(creds?.value ?? '')?.[1];
    const isOptions = has(line, 'image-opts');
    const isDriver = line.options.some(({ name, value }) => name === 'f' && value === 'sheepdog');
    const isForWriting = !has(line, 'r');
    const operands: string[] = [];
    const options: Option[] = [];
    for (const operand of line.operands) {
      const { word, volume } = await openDevice(session, operand, { isOptions, isDriver, isForWriting });
      operands.push(word);
      if (volume?.vdi.snapshot === true) options.push({ name: 'r', value: undefined });
    }
    for (const { name, value } of line.options) {
      if (name === 'f' && value === 'sheepdog') continue;
      options.push({ name, value: name === 'c' ? await commandWords(session, value!) : value });
    }
    return (await session.run(formatArguments({ options, operands }), 'pass')).exit;
  } finally {
    await session.close();
  }
}

/** The commands themselves: `open [options] NAME`. A snapshot never changes, so it is opened for reading. */
async function commandWords(session: Session, text: string): Promise<string> {
  if (!/^\s*o(pen)?\s/.test(text)) return text;
  const words: string[] = [];
  for (const word of text.split(/\s+/)) {
    // A command is cut at blanks, and a name has none; neither has what stands for it.
    if (!isImageName(word)) {
      words.push(word);
      continue;
    }
    const image = await openDevice(session, word, { isForWriting: !/\s-[a-z]*r/.test(text) });
    words.push(...(image.volume?.vdi.snapshot === true ? ['-r'] : []), image.word);
  }
  return words.join(' ');
}

async function openDevice(session: Session, text: string, options: ImageOptions) {
  try {
    return await session.open(text, options);
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    const reason = error.message.replace(/^Could not open '.*?': /s, '');
    throw new ToolError(`can't open device ${text}: ${reason}`, error.exit, { cause: error });
  }
}
